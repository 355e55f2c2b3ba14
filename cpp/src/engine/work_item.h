// One branch's part of a step, from planning to commit.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/branch.h"

namespace foresight {

// A segment as it enters the forward: catch-up rows (tokens that the cache lacks), then planned
// rows.
struct PackedSegment {
  Role role = Role::target;
  std::int32_t plan_segment = -1;  // of the plan; -1: catch-up rows only
  std::int64_t cached = 0;         // slots before this step
  std::int64_t num_catch_up = 0;
  std::int64_t num_planned = 0;
  std::int64_t first_row = 0;            // in the forward batch
  std::vector<std::int32_t> replaced;    // cached slots that planned rows replace, ascending
  std::vector<std::uint64_t> ancestors;  // of all rows, when the plan's segment uses bit-sets

  std::int64_t num_rows() const { return num_catch_up + num_planned; }
  void drop_planned() {
    plan_segment = -1;
    num_planned = 0;
    replaced.clear();
  }
};

struct WorkItem {
  Branch* branch = nullptr;
  bool planned = false;  // false: catch-up rows only, the policy is not asked yet
  Plan plan;
  std::vector<PackedSegment> segments;
  Readout readout;
  std::int64_t first_state = -1;  // of its target rows among the batch's hidden rows; -1: none

  std::int64_t num_rows() const {
    std::int64_t total = 0;
    for (const PackedSegment& segment : segments) total += segment.num_rows();
    return total;
  }
  std::int64_t num_catch_up() const {
    std::int64_t total = 0;
    for (const PackedSegment& segment : segments) total += segment.num_catch_up;
    return total;
  }
  const PackedSegment* segment_of(Role role) const {
    for (const PackedSegment& segment : segments) {
      if (segment.role == role) return &segment;
    }
    return nullptr;
  }
  const PackedSegment* segment_of_plan(std::int32_t plan_segment) const {
    for (const PackedSegment& segment : segments) {
      if (segment.plan_segment == plan_segment) return &segment;
    }
    return nullptr;
  }
};

}  // namespace foresight
