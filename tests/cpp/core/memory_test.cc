#include "core/memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace foresight {
namespace {

class AvailableMemory : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "foresight_memory_test";
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const char* name, const char* text) const { std::ofstream(folder_ / name) << text; }

  std::filesystem::path folder_;
  const std::string meminfo_ = "MemTotal:  100 kB\nMemFree: 3 kB\nMemAvailable:   40 kB\n";
};

TEST_F(AvailableMemory, IsWhatTheSystemSays) {
  EXPECT_EQ(available_memory_from(meminfo_, folder_.string()), 40u * 1024);
}

TEST_F(AvailableMemory, IsBoundedByTheControlGroup) {
  write("memory.max", "30000\n");
  write("memory.current", "10000\n");
  EXPECT_EQ(available_memory_from(meminfo_, folder_.string()), 20000u);
  write("memory.current", "40000\n");
  EXPECT_EQ(available_memory_from(meminfo_, folder_.string()), 0u);
}

TEST_F(AvailableMemory, IgnoresAGroupWithoutLimit) {
  write("memory.max", "max\n");
  write("memory.current", "10000\n");
  EXPECT_EQ(available_memory_from(meminfo_, folder_.string()), 40u * 1024);
}

TEST_F(AvailableMemory, GuessesWhenNothingIsKnown) {
  EXPECT_EQ(available_memory_from("", folder_.string()), std::size_t{1} << 30);
  EXPECT_GT(available_memory(), 0u);
}

}  // namespace
}  // namespace foresight
