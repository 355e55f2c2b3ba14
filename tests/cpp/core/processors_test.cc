#include "core/processors.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace foresight {
namespace {

// A folder that stands for /sys/fs/cgroup.
class Cgroup : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "cgroup_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    mount_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(mount_); }

  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = mount_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  std::string mount_;
};

TEST_F(Cgroup, NoQuotaIsNone) {
  EXPECT_EQ(cgroup_processors(mount_, ""), std::nullopt);
  EXPECT_EQ(cgroup_processors(mount_, "0::/\n"), std::nullopt);
  write("cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_processors(mount_, "0::/\n"), std::nullopt);
}

TEST_F(Cgroup, VersionTwoIsRoundedUp) {
  write("cpu.max", "150000 100000\n");
  EXPECT_EQ(cgroup_processors(mount_, "0::/\n"), 2);
  write("cpu.max", "200000 100000\n");
  EXPECT_EQ(cgroup_processors(mount_, "0::/\n"), 2);
  write("cpu.max", "1000 100000\n");
  EXPECT_EQ(cgroup_processors(mount_, "0::/\n"), 1);
}

TEST_F(Cgroup, TheLeastOfTheAncestorsCounts) {
  write("a/b/cpu.max", "800000 100000\n");
  write("a/cpu.max", "300000 100000\n");
  write("cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_processors(mount_, "0::/a/b\n"), 3);
}

TEST_F(Cgroup, PathsOfTheHostFallBackToTheRoot) {
  write("cpu.max", "400000 100000\n");
  EXPECT_EQ(cgroup_processors(mount_, "0::/kubepods/pod1/container\n"), 4);
}

TEST_F(Cgroup, VersionOne) {
  write("cpu,cpuacct/docker/cpu.cfs_quota_us", "250000\n");
  write("cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_processors(mount_, "12:cpuset:/\n4:cpu,cpuacct:/docker\n"), 3);
  write("cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(cgroup_processors(mount_, "4:cpu,cpuacct:/docker\n"), std::nullopt);
}

TEST_F(Cgroup, VersionOneUnderItsShortName) {
  write("cpu/cpu.cfs_quota_us", "100000\n");
  write("cpu/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(cgroup_processors(mount_, "4:cpu,cpuacct:/elsewhere\n"), 2);
}

TEST_F(Cgroup, NonsenseIsNone) {
  write("cpu.max", "fast 0\n");
  EXPECT_EQ(cgroup_processors(mount_, "0::/\n"), std::nullopt);
  write("cpu.max", "100 0\n");
  EXPECT_EQ(cgroup_processors(mount_, "0::/\nno colons\n:\n"), std::nullopt);
}

TEST(Processors, TheAffinityMaskCounts) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(affinity_processors(), CPU_COUNT(&before));
  EXPECT_GE(available_processors(), 1);
  EXPECT_LE(available_processors(), affinity_processors());
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(available_processors(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

}  // namespace
}  // namespace foresight
