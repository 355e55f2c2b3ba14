// Pools across fork(). These stand apart from the other pool tests because ThreadSanitizer cannot
// follow threads that are started after a fork of a process with threads.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "core/thread_pool.h"

namespace foresight {
namespace {

// Runs `body` in a child process; returns its exit status, -1 when a signal ended it and -2 when
// it hung and had to be killed.
template <typename Body>
int status_of_child(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return -2;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Whether `pool` runs tasks on all its threads at once.
bool works(ThreadPool& pool) {
  std::atomic<int> present{0};
  pool.parallel_for(static_cast<std::size_t>(pool.num_threads()), [&](std::size_t, int) {
    ++present;
    while (present < pool.num_threads()) std::this_thread::yield();
  });
  return present == pool.num_threads();
}

TEST(PoolFork, TheChildStartsWorkersAnew) {
  ThreadPool pool(3);
  ASSERT_TRUE(works(pool));
  EXPECT_EQ(status_of_child([&] { return works(pool) && works(pool) ? 0 : 1; }), 0);
  EXPECT_TRUE(works(pool)) << "the parent's pool must not notice";
}

TEST(PoolFork, TheChildMayDestroyAPoolItNeverUsed) {
  auto pool = std::make_unique<ThreadPool>(3);
  ASSERT_TRUE(works(*pool));
  EXPECT_EQ(status_of_child([&] {
              pool.reset();
              return 0;
            }),
            0);
  EXPECT_TRUE(works(*pool));
}

TEST(PoolFork, TheChildMayUseThenDestroyIt) {
  auto pool = std::make_unique<ThreadPool>(3);
  EXPECT_EQ(status_of_child([&] {
              const bool worked = works(*pool);
              pool.reset();
              return worked ? 0 : 1;
            }),
            0);
}

TEST(PoolFork, GrandchildrenWorkToo) {
  ThreadPool pool(2);
  EXPECT_EQ(status_of_child([&] {
              if (!works(pool)) return 1;
              return status_of_child([&] { return works(pool) ? 0 : 2; });
            }),
            0);
}

TEST(PoolFork, SeveralCallersInTheChildMayComeFirst) {
  ThreadPool pool(3);
  EXPECT_EQ(status_of_child([&] {
              std::atomic<int> worked{0};
              std::vector<std::thread> callers;
              for (int i = 0; i < 4; ++i) {
                callers.emplace_back([&] { worked += works(pool) ? 1 : 0; });
              }
              for (std::thread& caller : callers) caller.join();
              return worked == 4 ? 0 : 1;
            }),
            0);
}

TEST(PoolFork, ForkingWhileAnotherCallerComputes) {
  ThreadPool pool(3);
  std::atomic<bool> stop{false};
  std::atomic<bool> computes{false};
  std::thread busy([&] {
    while (!stop) {
      pool.parallel_for(64, [](std::size_t, int) {});
      computes = true;
    }
  });
  // A thread that is still starting, of the pool's or this one, may hold locks of the sanitizers'
  // runtimes, which they do not free in the child: there no thread would start any more.
  ASSERT_TRUE(works(pool));
  while (!computes) std::this_thread::yield();
  for (int round = 0; round < 20; ++round) {
    EXPECT_EQ(status_of_child([&] { return works(pool) ? 0 : 1; }), 0);
  }
  stop = true;
  busy.join();
}

}  // namespace
}  // namespace foresight
