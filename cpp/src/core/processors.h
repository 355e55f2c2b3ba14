// How many processors this process may use.
#pragma once

#include <optional>
#include <string>

namespace foresight {

// The size of the scheduling affinity mask, at least 1.
int affinity_processors();

// Processors granted by the CPU quotas (v2: cpu.max, v1: cpu.cfs_quota_us) of the control group
// that `self_cgroup` (the text of /proc/self/cgroup) names and of all its ancestors, rounded up;
// none without a quota. `mount` is where control groups are mounted: "/sys/fs/cgroup".
std::optional<int> cgroup_processors(const std::string& mount, const std::string& self_cgroup);

// min(affinity_processors(), cgroup_processors() of this process), at least 1.
int available_processors();

}  // namespace foresight
