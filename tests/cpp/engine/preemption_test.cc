// Losing pages costs work and never changes a result.
#include <gtest/gtest.h>

#include "cpp/engine/rig.h"

namespace foresight::engine_test {
namespace {

TEST(EnginePreemption, SmallCachesChangeNothing) {
  const std::vector<RequestSpec> specs = mixed_specs();
  const std::vector<Tokens> wanted = run_alone(specs);
  // The largest request needs 10 pages.
  for (std::int64_t num_pages = 10; num_pages < 60; num_pages += num_pages < 20 ? 1 : 7) {
    for (const std::int64_t chunk : {0, 1, 4}) {
      Rig rig(num_pages);
      rig.engine->chunk_budget().fix(chunk);
      EXPECT_EQ(run(rig, specs), wanted) << num_pages << " pages, chunk " << chunk;
      rig.expect_empty();
    }
  }
}

TEST(EnginePreemption, AfterEveryStep) {
  const std::vector<RequestSpec> specs = mixed_specs();
  const std::vector<Tokens> wanted = run_alone(specs);
  for (const std::int64_t num_pages : {16, 1000}) {
    Rig rig(num_pages);
    // A chunk must hold a whole sequence: what a step has computed is lost after it.
    rig.engine->chunk_budget().fix(64);
    EXPECT_EQ(run(rig, specs, [&] { rig.preempt_all(); }), wanted);
    rig.expect_empty();
  }
}

TEST(EnginePreemption, AtRandom) {
  const std::vector<RequestSpec> specs = mixed_specs();
  const std::vector<Tokens> wanted = run_alone(specs);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Rig rig(static_cast<std::int64_t>(10 + seed));
    rig.engine->chunk_budget().fix(seed % 2 == 0 ? 7 : 40);
    std::uint64_t step = 0;
    EXPECT_EQ(run(rig, specs,
                  [&] {
                    if (mix64(seed, step++) % 5 == 0) rig.preempt_all();
                  }),
              wanted);
    rig.expect_empty();
  }
}

TEST(EnginePreemption, IsCounted) {
  Rig rig(6);
  std::vector<RequestSpec> specs;
  for (int i = 0; i < 3; ++i) specs.push_back(make_spec(some_tokens(4, 1), 16));
  Job job(rig.engine);
  for (const RequestSpec& spec : specs) job.add(spec);
  job.advance(Until::done, no_poll);
  const Job::Stats stats = job.stats();
  EXPECT_GT(stats.preemptions, 0);
  EXPECT_GT(stats.counters.recomputed_rows, 0);
  EXPECT_EQ(stats.counters.rows, rig.model->num_rows);
  EXPECT_EQ(stats.counters.rows - stats.counters.recomputed_rows, 3 * (3 + 16));
  EXPECT_EQ(stats.counters.generated_tokens, 3 * 16);
}

TEST(EnginePreemption, DoesNotStallTheOldest) {
  // The oldest request is never made to wait or to compute anything twice.
  Rig rig(10);
  Job job(rig.engine);
  for (int i = 0; i < 6; ++i) job.add(make_spec(some_tokens(8, 1), 20));
  job.advance(Until::done, no_poll);
  EXPECT_EQ(job.branch(0, 0).counters.recomputed_rows, 0);
  EXPECT_EQ(job.branch(0, 0).decode_forwards, 20);
}

TEST(EnginePreemption, IdleSessionsDoNotHoldBackABatch) {
  Rig rig(40);
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 5; ++i) {
    auto& session = sessions.emplace_back(std::make_unique<Session>(rig.engine));
    Session* pointer = session.get();
    feed(*rig.engine, {&pointer, 1}, {some_tokens(32, 1)}, FeedWant::none, {}, no_poll);
  }
  EXPECT_EQ(rig.used_pages(), 40);
  rig.model->num_forwards = 0;
  std::vector<RequestSpec> specs;
  for (int i = 0; i < 8; ++i) specs.push_back(make_spec(some_tokens(6, 1), 8));
  EXPECT_EQ(run(rig, specs), run_alone(specs));
  EXPECT_LT(rig.model->num_forwards, 20) << "requests ran one after another";
}

}  // namespace
}  // namespace foresight::engine_test
