// Our own worker threads: sized by affinity and cgroup quota, safe after fork().
#pragma once

#include <atomic>
#include <cstddef>

#include "core/function_ref.h"

namespace foresight {

// Processors this process may use: min(sched affinity, cgroup CPU quota rounded up), at least 1;
// FORESIGHT_NUM_THREADS overrides it. Throws ValueError unless that holds a number from 1 to 1024.
int default_num_threads();

class ThreadPool {
 public:
  // Borrowed for the call: any callable, whatever it captures, without an allocation.
  using Task = FunctionRef<void(std::size_t index, int thread)>;

  // num_threads includes the calling thread; 0 means default_num_threads().
  // Throws ValueError for a negative number or more than 1024, std::system_error when the system
  // has no more threads.
  explicit ThreadPool(int num_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls task(index, thread) for every index in [0, count), thread in [0, num_threads());
  // returns when all are done. Tasks are handed out dynamically, so results must not depend on
  // which thread runs which task. The first exception is rethrown after all tasks ended or were
  // skipped. Calls from several threads are serialised; a call from inside a task, of this pool or
  // another, throws InternalError. In a child process after fork() the workers are started anew
  // (a fork() from inside a task is not supported).
  void parallel_for(std::size_t count, Task task);

 private:
  class Crew;
  Crew& crew();

  const int num_threads_;
  std::atomic<Crew*> crew_;
};

}  // namespace foresight
