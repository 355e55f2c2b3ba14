#include "trace/json_lines.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.h"

namespace foresight {
namespace {

class JsonLines : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "trace_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/trace.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<std::string> lines() const {
    std::ifstream file(path_);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }

  std::string folder_;
  std::string path_;
};

TraceEvent numbered(std::int64_t number) {
  return {.kind = "event", .step = number, .fields = {{"text", "a\nb"}}};
}

std::string line_of(std::int64_t number) {
  return R"({"kind":"event","seconds":0.0,"step":)" + std::to_string(number) + R"(,"text":"a\nb"})";
}

TEST_F(JsonLines, OneLinePerEvent) {
  {
    JsonLinesSink sink(path_);
    sink.write(numbered(1));
    sink.write(numbered(2));
    EXPECT_TRUE(lines().empty()) << "held back until the block is full";
    sink.flush();
    EXPECT_EQ(lines(), (std::vector<std::string>{line_of(1), line_of(2)}));
    sink.write(numbered(3));
  }
  EXPECT_EQ(lines().size(), 3u) << "the destructor writes the rest";
}

TEST_F(JsonLines, AnExistingFileIsEmptied) {
  std::ofstream(path_) << "old\n";
  JsonLinesSink(path_).write(numbered(1));
  EXPECT_EQ(lines(), (std::vector<std::string>{line_of(1)}));
}

TEST_F(JsonLines, LongTracesAreWrittenInBlocks) {
  JsonLinesSink sink(path_);
  for (std::int64_t i = 0; i < 5000; ++i) sink.write(numbered(i));
  const std::size_t before = lines().size();
  EXPECT_GT(before, 1000u);
  EXPECT_LT(before, 5000u);
  sink.flush();
  const std::vector<std::string> all = lines();
  ASSERT_EQ(all.size(), 5000u);
  for (std::int64_t i = 0; i < 5000; ++i) ASSERT_EQ(all[static_cast<std::size_t>(i)], line_of(i));
}

TEST_F(JsonLines, AKilledRunLeavesWholeLines) {
  const pid_t child = fork();
  if (child == 0) {
    JsonLinesSink sink(path_);
    for (std::int64_t i = 0; i < 5000; ++i) sink.write(numbered(i));
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  const std::vector<std::string> all = lines();
  ASSERT_GT(all.size(), 1000u);
  for (std::size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(all[i], line_of(static_cast<std::int64_t>(i)));
  }
}

TEST_F(JsonLines, ChildrenLeaveTheFileToTheirParent) {
  {
    JsonLinesSink sink(path_);
    sink.write(numbered(1));
    const pid_t child = fork();
    if (child == 0) {
      sink.write(numbered(2));
      sink.flush();
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(lines().empty());
  }
  EXPECT_EQ(lines(), (std::vector<std::string>{line_of(1)}));
}

TEST_F(JsonLines, ThreadsDoNotMixTheirLines) {
  {
    JsonLinesSink sink(path_);
    std::vector<std::thread> writers;
    for (int writer = 0; writer < 4; ++writer) {
      writers.emplace_back([&sink] {
        for (std::int64_t i = 0; i < 1000; ++i) sink.write(numbered(7));
      });
    }
    for (std::thread& writer : writers) writer.join();
  }
  EXPECT_EQ(lines(), std::vector<std::string>(4000, line_of(7)));
}

TEST_F(JsonLines, APathThatCannotBeOpenedIsAValueError) {
  try {
    JsonLinesSink sink(folder_ + "/missing/trace.jsonl");
    FAIL() << "expected a ValueError";
  } catch (const ValueError& error) {
    EXPECT_NE(std::string(error.what()).find("missing/trace.jsonl"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("No such file"), std::string::npos);
  }
}

TEST_F(JsonLines, AFullDiskIsASystemError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  JsonLinesSink sink("/dev/full");
  sink.write(numbered(1));
  EXPECT_THROW(sink.flush(), std::system_error);
  EXPECT_NO_THROW(sink.flush()) << "the block is given up";
}

}  // namespace
}  // namespace foresight
