// How much memory this process may still take.
#pragma once

#include <cstddef>
#include <string>

namespace foresight {

// MemAvailable of /proc/meminfo, or what the control group's limit (v2: memory.max) leaves when
// that is less. Files that are missing say nothing; without any of them 1 GiB.
std::size_t available_memory();

// The same from given places: the text of /proc/meminfo, and the folder of the control group.
std::size_t available_memory_from(const std::string& meminfo, const std::string& cgroup_folder);

}  // namespace foresight
