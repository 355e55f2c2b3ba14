// Whoever holds pages of the cache: a branch, an idle session, the shared prompt of a request. When
// pages run out, tenants lose theirs and compute them again later.
#pragma once

#include <array>
#include <cstdint>

#include "cache/cache.h"
#include "rows/rows.h"

namespace foresight {

struct Tenant {
  std::uint64_t order = 0;  // of admission; the youngest (highest) is preempted first
  bool idle = false;        // not being decoded now: preempted before all others
  bool pinned = false;      // takes part in the open step: not preempted
  std::array<Cache::Handle, kNumRoles> handles = make_no_handles();  // per role; kNoHandle: nothing cached

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
