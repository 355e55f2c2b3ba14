#include "core/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

namespace foresight {
namespace {

std::optional<std::size_t> read_bytes(const std::string& path) {
  std::ifstream file(path);
  std::size_t bytes = 0;
  if (file >> bytes) return bytes;  // "max" is no number: no limit
  return std::nullopt;
}

std::optional<std::size_t> mem_available(const std::string& meminfo) {
  std::istringstream lines(meminfo);
  std::string key;
  while (lines >> key) {
    std::size_t kibibytes = 0;
    if (key == "MemAvailable:" && lines >> kibibytes) return kibibytes * 1024;
    lines.clear();
    lines.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

}  // namespace

std::size_t available_memory_from(const std::string& meminfo, const std::string& cgroup_folder) {
  constexpr std::size_t kUnknown = std::size_t{1} << 30;
  std::size_t available = mem_available(meminfo).value_or(kUnknown);
  const auto limit = read_bytes(cgroup_folder + "/memory.max");
  const auto used = read_bytes(cgroup_folder + "/memory.current");
  if (limit && used) available = std::min(available, *limit > *used ? *limit - *used : 0);
  return available;
}

std::size_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::ostringstream meminfo;
  meminfo << file.rdbuf();
  return available_memory_from(meminfo.str(), "/sys/fs/cgroup");
}

}  // namespace foresight
