// Several callers at once on one engine, with less cache than they would like.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/error.h"
#include "cpp/engine/rig.h"
#include "engine/reading.h"

namespace foresight::engine_test {
namespace {

TEST(EngineThread, CallersDoNotSeeEachOther) {
  const std::vector<RequestSpec> specs = mixed_specs();
  const std::vector<Tokens> wanted = run_alone(specs);
  const Tokens fed = some_tokens(30, 4);
  std::vector<float> wanted_logits;
  {
    Rig rig;
    Session session(rig.engine);
    Session* pointer = &session;
    wanted_logits =
        feed(*rig.engine, {&pointer, 1}, {fed}, FeedWant::all_logits, {}, no_poll)[0].values;
  }
  Rig rig(24, 2);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 4; ++round) {
        if (i == 0) {
          EXPECT_EQ(run(rig, specs), wanted);
          continue;
        }
        Job job(rig.engine);
        for (const RequestSpec& spec : specs) job.add(spec);
        while (!job.done()) job.advance(i == 1 ? Until::step : Until::finished, no_poll);
        EXPECT_EQ(new_tokens(job, 0), wanted[0]);
        EXPECT_EQ(new_tokens(job, 8), wanted.back());
      }
    });
  }
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 6; ++round) {
        Session session(rig.engine);
        std::vector<float> logits;
        for (std::size_t at = 0; at < fed.size(); at += 10) {
          Session* pointer = &session;
          const auto begin = fed.begin() + static_cast<std::ptrdiff_t>(at);
          const auto result = feed(*rig.engine, {&pointer, 1}, {{begin, begin + 10}},
                                   FeedWant::all_logits, {}, no_poll)[0];
          logits.insert(logits.end(), result.values.begin(), result.values.end());
          const auto fork = session.fork();
          fork->truncate(5);
        }
        EXPECT_EQ(logits, wanted_logits);
      }
    });
  }
  threads.emplace_back([&] {
    for (int round = 0; round < 10; ++round) {
      rig.preempt_all();
      const auto scores = score(*rig.engine, {fed, fed}, {1, 5}, no_poll);
      EXPECT_EQ(scores[0][4].logprob, scores[1][0].logprob);
    }
  });
  for (std::thread& thread : threads) thread.join();
  rig.expect_empty();
}

TEST(EngineThread, OnlyOneCallUsesASession) {
  Rig rig;
  Session session(rig.engine);
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        try {
          Session* pointer = &session;
          feed(*rig.engine, {&pointer, 1}, {{1, 2, 3}}, FeedWant::last_logits, {}, no_poll);
          ++done;
        } catch (const ValueError&) {
          EXPECT_GE(session.size(), 0);
          std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(session.size(), 3 * done);
  EXPECT_GE(done, 20);
  rig.check_integrity();
}

TEST(EngineThread, ACancelledCallLetsTheOthersGoOn) {
  const std::vector<RequestSpec> specs = mixed_specs();
  const std::vector<Tokens> wanted = run_alone(specs);
  Rig rig(14);
  std::thread other([&] {
    for (int i = 0; i < 30; ++i) {
      Job job(rig.engine);
      for (const RequestSpec& spec : specs) job.add(spec);
      int steps = 0;
      try {
        job.advance(Until::done, [&] {
          if (++steps > i) throw Cancelled();
        });
      } catch (const Cancelled&) {
      }
    }
  });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(rig, specs), wanted);
  other.join();
  rig.expect_empty();
}

}  // namespace
}  // namespace foresight::engine_test
