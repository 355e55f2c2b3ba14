// A mutex that serves its waiters in the order in which they came: each call drives its own
// requests, one step at a time, and none may starve. Its owner may lock it again: a step that calls
// back into Python may find itself destroying somebody's forgotten session or job there.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace foresight {

class FairMutex {
 public:
  void lock() {
    std::unique_lock guard(mutex_);
    if (depth_ > 0 && owner_ == std::this_thread::get_id()) {
      ++depth_;
      return;
    }
    const std::uint64_t ticket = next_ticket_++;
    turn_.wait(guard, [&] { return ticket == serving_; });
    owner_ = std::this_thread::get_id();
    depth_ = 1;
  }
  void unlock() {
    {
      const std::lock_guard guard(mutex_);
      if (--depth_ > 0) return;
      ++serving_;
    }
    turn_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable turn_;
  std::uint64_t next_ticket_ = 0;
  std::uint64_t serving_ = 0;
  std::thread::id owner_;
  int depth_ = 0;
};

}  // namespace foresight
