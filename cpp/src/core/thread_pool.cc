#include "core/thread_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/processors.h"

namespace foresight {
namespace {

constexpr int kMaxThreads = 1024;
// Long enough to bridge the gap between two ops of a forward, short enough to leave the processor
// to others (torch's threads, say) soon after.
constexpr std::chrono::microseconds kSpin{40};

// True while this thread runs a task of any pool.
thread_local bool inside_task = false;

class InsideTask {
 public:
  InsideTask() { inside_task = true; }
  ~InsideTask() { inside_task = false; }
  InsideTask(const InsideTask&) = delete;
  InsideTask& operator=(const InsideTask&) = delete;
};

// Counts the fork()s on the way to this process. A crew of another generation has lost its threads,
// and its locks may be held by threads that no longer exist.
std::atomic<std::uint64_t> process_generation{0};
// Guards the replacement of lost crews; held across fork(), so that the child finds it free.
std::mutex replacement_mutex;

void watch_forks() {
  static const int registered =
      pthread_atfork([] { replacement_mutex.lock(); }, [] { replacement_mutex.unlock(); },
                     [] {
                       ++process_generation;
                       replacement_mutex.unlock();
                     });
  FORESIGHT_CHECK(registered == 0, "pthread_atfork failed");
}

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits for `condition` without going to sleep, at most kSpin. Returns whether it holds. On a busy
// machine the thread we wait for may want this very processor: the yield lets it run.
template <typename Condition>
bool spin_until(Condition condition) {
  constexpr int kPausesPerYield = 16;
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerYield; ++i) {
      if (condition()) return true;
      relax();
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < deadline);
  return condition();
}

// Signals belong to the threads of the application: workers block them all.
class BlockSignals {
 public:
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockSignals(const BlockSignals&) = delete;
  BlockSignals& operator=(const BlockSignals&) = delete;

 private:
  sigset_t before_;
};

int checked_num_threads(int num_threads) {
  if (num_threads < 0 || num_threads > kMaxThreads) {
    throw ValueError(concat("num_threads=", num_threads, ": expected a number from 0 to ",
                            kMaxThreads, ", where 0 stands for the processors available"));
  }
  return num_threads == 0 ? default_num_threads() : num_threads;
}

}  // namespace

int default_num_threads() {
  const char* text = std::getenv("FORESIGHT_NUM_THREADS");
  if (text == nullptr || *text == '\0') return std::min(available_processors(), kMaxThreads);
  const char* end = text + std::strlen(text);
  int number = 0;
  const auto [stop, error] = std::from_chars(text, end, number);
  if (error != std::errc() || stop != end || number < 1 || number > kMaxThreads) {
    throw ValueError(concat("FORESIGHT_NUM_THREADS=", text, ": expected a whole number from 1 to ",
                            kMaxThreads));
  }
  return number;
}

// The threads of one process generation and the job they work on.
//
// A job is `count` tasks; `unclaimed_` counts those nobody has begun, `unfinished_` those that have
// not ended. A thread claims a task by taking one from `unclaimed_`, and only a thread that holds a
// claim may look at the job: until it has given its claim back in `unfinished_`, the job cannot end
// and the next one cannot be written. So a worker that comes late, or out of an earlier job, finds
// either nothing to claim or a rightful claim to the present job.
class ThreadPool::Crew {
 public:
  // Starts num_threads - 1 workers.
  explicit Crew(int num_threads)
      : generation_(process_generation.load()), may_spin_(num_threads <= available_processors()) {
    try {
      const BlockSignals block;
      for (int thread = 1; thread < num_threads; ++thread) {
        workers_.emplace_back([this, thread] { work(thread); });
      }
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Crew() { stop(); }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  bool lost_by_fork() const { return generation_ != process_generation.load(); }

  void run(std::size_t count, Task task) {
    const std::lock_guard<std::mutex> one_caller(callers_);
    if (count == 1 || workers_.empty()) {
      const InsideTask mark;
      for (std::size_t index = 0; index < count; ++index) task(index, 0);
      return;
    }
    task_ = &task;
    count_ = count;
    unfinished_.store(count);
    unclaimed_.store(count);
    wake_workers(count - 1);
    {
      const InsideTask mark;
      run_tasks(0);
    }
    wait_until_finished();
    failed_.store(false, std::memory_order_relaxed);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void stop() {
    {
      const std::lock_guard<std::mutex> lock(sleep_);
      stopping_.store(true);
    }
    work_waits_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void work(int thread) {
    pthread_setname_np(pthread_self(), "foresight");
    const InsideTask mark;
    const auto called = [this] { return unclaimed_.load() > 0 || stopping_.load(); };
    while (true) {
      if (!may_spin_ || !spin_until(called)) {
        std::unique_lock<std::mutex> lock(sleep_);
        ++sleeping_workers_;
        work_waits_.wait(lock, called);
        --sleeping_workers_;
      }
      if (stopping_.load()) return;
      run_tasks(thread);
    }
  }

  // A worker raises sleeping_workers_ before it looks at unclaimed_ for the last time, the caller
  // writes unclaimed_ before it looks at sleeping_workers_; both in the one order of seq_cst. So
  // either the worker sees the work or the caller sees the sleeper.
  void wake_workers(std::size_t wanted) {
    const std::size_t sleeping = sleeping_workers_.load();
    if (sleeping == 0) return;
    // Empty on purpose: past it, a worker that has counted itself asleep is indeed waiting.
    { const std::lock_guard<std::mutex> lock(sleep_); }
    if (wanted >= sleeping) {
      work_waits_.notify_all();
    } else {
      for (std::size_t i = 0; i < wanted; ++i) work_waits_.notify_one();
    }
  }

  // Claims and runs tasks until none is left to claim.
  void run_tasks(int thread) {
    std::size_t ended = 0;
    std::size_t left = unclaimed_.load();
    while (left > 0) {
      if (!unclaimed_.compare_exchange_weak(left, left - 1)) continue;
      ++ended;
      try {
        (*task_)(count_ - left, thread);
      } catch (...) {
        if (!failed_.exchange(true)) error_ = std::current_exception();
        ended += unclaimed_.exchange(0);  // the rest is skipped
      }
      left = unclaimed_.load();
    }
    if (ended > 0 && unfinished_.fetch_sub(ended) == ended) announce_finish();
  }

  void announce_finish() {
    if (!caller_sleeps_.load()) return;
    { const std::lock_guard<std::mutex> lock(sleep_); }
    job_finished_.notify_one();
  }

  void wait_until_finished() {
    const auto finished = [this] { return unfinished_.load() == 0; };
    if (finished() || (may_spin_ && spin_until(finished))) return;
    std::unique_lock<std::mutex> lock(sleep_);
    caller_sleeps_.store(true);
    job_finished_.wait(lock, finished);
    caller_sleeps_.store(false);
  }

  const std::uint64_t generation_;
  const bool may_spin_;  // not when threads outnumber processors: spinners would keep out workers
  std::mutex callers_;   // held by the thread whose job is being worked on

  // The job: written by the caller, read under a claim. error_: by the thread that set failed_.
  const Task* task_ = nullptr;
  std::size_t count_ = 0;
  std::exception_ptr error_;
  alignas(64) std::atomic<std::size_t> unclaimed_{0};
  alignas(64) std::atomic<std::size_t> unfinished_{0};
  alignas(64) std::atomic<bool> failed_{false};

  std::mutex sleep_;
  std::condition_variable work_waits_;
  std::condition_variable job_finished_;
  std::atomic<std::size_t> sleeping_workers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

ThreadPool::ThreadPool(int num_threads) : num_threads_(checked_num_threads(num_threads)) {
  watch_forks();
  crew_.store(new Crew(num_threads_));
}

ThreadPool::~ThreadPool() {
  // A lost crew is abandoned: its threads cannot be joined, its locks may never open again.
  Crew* crew = crew_.load();
  if (!crew->lost_by_fork()) delete crew;
}

void ThreadPool::parallel_for(std::size_t count, Task task) {
  FORESIGHT_CHECK(!inside_task, "ThreadPool::parallel_for was called from inside a task");
  if (count > 0) crew().run(count, task);
}

ThreadPool::Crew& ThreadPool::crew() {
  Crew* crew = crew_.load(std::memory_order_acquire);
  if (!crew->lost_by_fork()) return *crew;
  const std::lock_guard<std::mutex> lock(replacement_mutex);
  crew = crew_.load(std::memory_order_acquire);
  if (crew->lost_by_fork()) {
    crew = new Crew(num_threads_);  // the lost one is abandoned, as in the destructor
    crew_.store(crew, std::memory_order_release);
  }
  return *crew;
}

}  // namespace foresight
