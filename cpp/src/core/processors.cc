#include "core/processors.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>
#include <vector>

namespace foresight {
namespace {

constexpr int kMaxProcessors = 1 << 16;

// Processors of quota microseconds per period, rounded up; none when they make no sense.
std::optional<int> rounded_up(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return std::nullopt;
  return static_cast<int>(std::clamp(std::ceil(quota / period), 1.0, double{kMaxProcessors}));
}

std::optional<double> read_number(const std::string& path) {
  double number = 0;
  if (std::ifstream(path) >> number) return number;
  return std::nullopt;
}

// "max 100000" or "150000 100000".
std::optional<int> quota_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double quota = 0;
  double period = 0;
  if (file >> quota >> period) return rounded_up(quota, period);
  return std::nullopt;
}

// A quota of -1 means none.
std::optional<int> quota_v1(const std::string& folder) {
  const auto quota = read_number(folder + "/cpu.cfs_quota_us");
  const auto period = read_number(folder + "/cpu.cfs_period_us");
  if (quota && period) return rounded_up(*quota, *period);
  return std::nullopt;
}

// The least quota of the group `path` under `root` and of its ancestors. Inside a container the
// path may be the host's, of which only the root is visible here: missing folders have no quota.
std::optional<int> least_quota(const std::string& root, std::string path,
                               std::optional<int> (*quota)(const std::string&)) {
  std::optional<int> least;
  while (true) {
    const std::optional<int> here = quota(root + path);
    if (here) least = std::min(*here, least.value_or(*here));
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}

bool holds(std::string_view comma_separated, std::string_view name) {
  const std::string padded = "," + std::string(comma_separated) + ",";
  return padded.find("," + std::string(name) + ",") != std::string::npos;
}

}  // namespace

int affinity_processors() {
  // The kernel refuses a mask smaller than its own, so it grows until it fits.
  for (int capacity = 1024; capacity <= kMaxProcessors; capacity *= 2) {
    std::vector<cpu_set_t> mask(CPU_ALLOC_SIZE(capacity) / sizeof(cpu_set_t) + 1);
    const std::size_t bytes = mask.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0) {
      return std::max(1, CPU_COUNT_S(bytes, mask.data()));
    }
    if (errno != EINVAL) break;
  }
  return 1;
}

std::optional<int> cgroup_processors(const std::string& mount, const std::string& self_cgroup) {
  // Lines of "hierarchy-id:controllers:path"; v2 is the line with id 0 and no controllers.
  std::optional<int> least;
  std::istringstream lines(self_cgroup);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    std::optional<int> quota;
    if (controllers.empty()) {
      quota = least_quota(mount, path, quota_v2);
    } else if (holds(controllers, "cpu")) {
      quota = least_quota(mount + "/" + controllers, path, quota_v1);
      if (!quota) quota = least_quota(mount + "/cpu", path, quota_v1);
    }
    if (quota) least = std::min(*quota, least.value_or(*quota));
  }
  return least;
}

int available_processors() {
  std::ifstream file("/proc/self/cgroup");
  std::ostringstream self_cgroup;
  self_cgroup << file.rdbuf();
  const int affinity = affinity_processors();
  return std::min(affinity,
                  cgroup_processors("/sys/fs/cgroup", self_cgroup.str()).value_or(affinity));
}

}  // namespace foresight
