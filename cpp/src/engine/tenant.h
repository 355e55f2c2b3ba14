// Whoever holds pages of the cache: a branch, an idle session, the shared prompt of a request. When
// pages run out, tenants lose theirs and compute them again later.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "cache/cache.h"
#include "rows/rows.h"

namespace foresight {

struct Tenant {
  std::uint64_t order = 0;  // of admission; the youngest (highest) is preempted first
  bool idle = false;        // not being decoded now: preempted before all others
  // A call that merely pauses between two steps (a stream) is left alone for a moment.
  std::chrono::steady_clock::time_point idle_since{};
  bool pinned = false;      // takes part in the open step: not preempted
  std::array<Cache::Handle, kNumRoles> handles = make_no_handles();  // per role; kNoHandle: nothing cached

  // Idle for long enough to be preempted by anybody.
  bool is_abandoned(std::chrono::steady_clock::time_point now) const {
    constexpr auto kGrace = std::chrono::milliseconds(100);
    return idle && now - idle_since > kGrace;
  }

  bool holds_pages() const {
    for (const Cache::Handle handle : handles) {
      if (handle != Cache::kNoHandle) return true;
    }
    return false;
  }

  static constexpr std::array<Cache::Handle, kNumRoles> make_no_handles() {
    std::array<Cache::Handle, kNumRoles> none{};
    none.fill(Cache::kNoHandle);
    return none;
  }
};

}  // namespace foresight
