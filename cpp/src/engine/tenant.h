// Whoever holds pages of the cache: a branch, an idle session, the shared prompt of a request. When
// pages run out, tenants lose theirs and compute them again later.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "cache/cache.h"
#include "rows/rows.h"

namespace foresight {

using Clock = std::chrono::steady_clock;

// Whether the caller of some tenants is driving them. A caller that left in the middle (a stream
// that nobody reads on) must not keep others waiting for its pages; one that comes back at once
// keeps them.
class Presence {
 public:
  static constexpr std::chrono::milliseconds kPatience{50};

  void enter() { left_ = kPresent; }
  void leave() { left_ = Clock::now().time_since_epoch().count(); }
  bool is_away(Clock::time_point now) const {
    const Clock::rep left = left_;
    return left != kPresent && now - Clock::time_point(Clock::duration(left)) > kPatience;
  }

 private:
  static constexpr Clock::rep kPresent = -1;
  std::atomic<Clock::rep> left_{kPresent};
};

// Of a role, in arrays that have one entry for each.
inline std::size_t index_of(Role role) { return static_cast<std::size_t>(role); }

struct Tenant {
  std::uint64_t order = 0;           // of admission; the youngest (highest) is preempted first
  bool idle = false;                 // not being decoded now: preempted before all others
  bool pinned = false;               // takes part in the open step: not preempted
  bool starved = false;              // lost its pages, or could not get any
  const Presence* caller = nullptr;  // null: always present
  std::array<Cache::Handle, kNumRoles> handles =
      make_no_handles();  // per role; kNoHandle: nothing cached

  bool holds_pages() const {
    for (const Cache::Handle handle : handles) {
      if (handle != Cache::kNoHandle) return true;
    }
    return false;
  }
  bool rests(Clock::time_point now) const {
    return idle || (caller != nullptr && caller->is_away(now));
  }

  static constexpr std::array<Cache::Handle, kNumRoles> make_no_handles() {
    std::array<Cache::Handle, kNumRoles> none{};
    none.fill(Cache::kNoHandle);
    return none;
  }
};

}  // namespace foresight
