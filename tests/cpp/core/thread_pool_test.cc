#include "core/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"

namespace foresight {
namespace {

// Sets an environment variable (nullptr: unsets it) for the length of a test.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    had_value_ = std::getenv(name) != nullptr;
    value == nullptr ? unsetenv(name) : setenv(name, value, 1);
  }
  ~ScopedVariable() { had_value_ ? setenv(name_, before_.c_str(), 1) : unsetenv(name_); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const char* name_;
  std::string before_;
  bool had_value_ = false;
};

TEST(ThreadPool, RunsEveryIndexOnce) {
  for (int num_threads : {1, 2, 3, 8}) {
    ThreadPool pool(num_threads);
    ASSERT_EQ(pool.num_threads(), num_threads);
    for (std::size_t count : {0u, 1u, 2u, 3u, 7u, 64u, 1000u}) {
      std::vector<int> visits(count, 0);
      std::atomic<bool> threads_in_range{true};
      pool.parallel_for(count, [&](std::size_t index, int thread) {
        ++visits[index];  // plain on purpose: each index is one thread's, and visible at the end
        if (thread < 0 || thread >= num_threads) threads_in_range = false;
      });
      EXPECT_EQ(visits, std::vector<int>(count, 1));
      EXPECT_TRUE(threads_in_range);
    }
  }
}

TEST(ThreadPool, TasksOfOneThreadNeverOverlap) {
  ThreadPool pool(4);
  std::vector<std::int64_t> sums(4, 0);  // scratch per thread, without locks
  for (int round = 0; round < 200; ++round) {
    pool.parallel_for(50, [&](std::size_t index, int thread) {
      sums[static_cast<std::size_t>(thread)] += static_cast<std::int64_t>(index);
    });
  }
  EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), std::int64_t{0}), 200 * 49 * 25);
}

TEST(ThreadPool, ManyShortJobsInARow) {
  ThreadPool pool(2);
  std::vector<int> values(2, 0);
  for (int round = 0; round < 20000; ++round) {
    pool.parallel_for(2, [&](std::size_t index, int) { ++values[index]; });
  }
  EXPECT_EQ(values, (std::vector<int>{20000, 20000}));
}

TEST(ThreadPool, WakesWorkersThatFellAsleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::atomic<int> ran{0};
    pool.parallel_for(round % 2 == 0 ? 2 : 9, [&](std::size_t, int) { ++ran; });
    EXPECT_EQ(ran, round % 2 == 0 ? 2 : 9);
  }
}

TEST(ThreadPool, TasksRunAtTheSameTime) {
  ThreadPool pool(3);
  std::atomic<int> present{0};
  pool.parallel_for(3, [&](std::size_t, int) {
    ++present;
    while (present < 3) std::this_thread::yield();  // ends only when three threads are inside
  });
  EXPECT_EQ(present, 3);
}

TEST(ThreadPool, OneTaskRunsOnTheCaller) {
  ThreadPool pool(4);
  std::thread::id ran_on;
  int thread_number = -1;
  pool.parallel_for(1, [&](std::size_t, int thread) {
    ran_on = std::this_thread::get_id();
    thread_number = thread;
  });
  EXPECT_EQ(ran_on, std::this_thread::get_id());
  EXPECT_EQ(thread_number, 0);
}

TEST(ThreadPool, TheFirstExceptionIsRethrownAndTheRestIsSkipped) {
  for (int num_threads : {1, 2, 4}) {
    ThreadPool pool(num_threads);
    for (int round = 0; round < 100; ++round) {
      std::atomic<int> ran{0};
      try {
        pool.parallel_for(100000, [&](std::size_t index, int) {
          ++ran;
          if (index == 10) throw std::runtime_error("index ten");
        });
        FAIL() << "expected an exception";
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "index ten");
      }
      EXPECT_LE(ran, 100000);
      std::atomic<int> later{0};
      pool.parallel_for(10, [&](std::size_t, int) { ++later; });
      EXPECT_EQ(later, 10);
    }
  }
}

TEST(ThreadPool, EveryTaskMayThrow) {
  ThreadPool pool(4);
  for (int round = 0; round < 100; ++round) {
    EXPECT_THROW(pool.parallel_for(8, [](std::size_t, int) { throw std::runtime_error("all"); }),
                 std::runtime_error);
  }
}

TEST(ThreadPool, CallsFromSeveralThreadsAreSerialised) {
  ThreadPool pool(3);
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};
  std::vector<std::int64_t> totals(4, 0);
  std::vector<std::thread> callers;
  for (std::size_t caller = 0; caller < totals.size(); ++caller) {
    callers.emplace_back([&, caller] {
      const int stamp = 1 << (8 * static_cast<int>(caller));
      for (int round = 0; round < 200; ++round) {
        std::vector<int> values(16, 0);
        pool.parallel_for(16, [&](std::size_t index, int) {
          // Counts of other callers must be zero while one of ours is inside.
          const int others = inside.fetch_add(stamp) & ~(0xff << (8 * static_cast<int>(caller)));
          if (others != 0) overlapped = true;
          values[index] = 1;
          inside.fetch_sub(stamp);
        });
        totals[caller] += std::accumulate(values.begin(), values.end(), 0);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_FALSE(overlapped);
  EXPECT_EQ(totals, std::vector<std::int64_t>(4, 3200));
}

TEST(ThreadPool, ACallFromInsideATaskIsAnInternalError) {
  ThreadPool other(2);
  for (int num_threads : {1, 2}) {
    ThreadPool pool(num_threads);
    for (ThreadPool* inner : {&pool, &other}) {
      for (std::size_t count : {1u, 4u}) {
        EXPECT_THROW(
            pool.parallel_for(
                count, [&](std::size_t, int) { inner->parallel_for(2, [](std::size_t, int) {}); }),
            InternalError);
      }
    }
    std::atomic<int> later{0};
    pool.parallel_for(4, [&](std::size_t, int) { ++later; });
    EXPECT_EQ(later, 4);
  }
}

TEST(ThreadPool, TakesAnyCallable) {
  ThreadPool pool(2);
  std::atomic<int> ran{0};
  const std::function<void(std::size_t, int)> function = [&](std::size_t, int) { ++ran; };
  pool.parallel_for(5, function);
  auto mutable_lambda = [&ran, calls = std::atomic<int>(0)](std::size_t, int) mutable {
    ++calls;
    ++ran;
  };
  pool.parallel_for(5, mutable_lambda);
  EXPECT_EQ(ran, 10);
}

TEST(ThreadPool, ComesAndGoesQuickly) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(4);
    if (round % 2 == 0) pool.parallel_for(4, [](std::size_t, int) {});
  }
}

TEST(ThreadPool, SizesOutOfRangeAreValueErrors) {
  EXPECT_THROW(ThreadPool(-1), ValueError);
  EXPECT_THROW(ThreadPool(1025), ValueError);
}

TEST(ThreadPool, TheEnvironmentSetsTheDefaultSize) {
  {
    const ScopedVariable three("FORESIGHT_NUM_THREADS", "3");
    EXPECT_EQ(default_num_threads(), 3);
    EXPECT_EQ(ThreadPool().num_threads(), 3);
    EXPECT_EQ(ThreadPool(2).num_threads(), 2);
  }
  for (const char* text : {"0", "-1", "1025", "two", "2 ", "99999999999999999999"}) {
    const ScopedVariable wrong("FORESIGHT_NUM_THREADS", text);
    try {
      default_num_threads();
      FAIL() << "expected a ValueError for " << text;
    } catch (const ValueError& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos);
    }
  }
  for (const char* text : {static_cast<const char*>(nullptr), ""}) {
    const ScopedVariable unset("FORESIGHT_NUM_THREADS", text);
    EXPECT_GE(default_num_threads(), 1);
  }
}

}  // namespace
}  // namespace foresight
