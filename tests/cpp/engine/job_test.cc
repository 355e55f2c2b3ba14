// Batches, sharing, stopping and counting.
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "core/error.h"
#include "cpp/engine/rig.h"
#include "cpp/engine/test_policies.h"

namespace foresight::engine_test {
namespace {

TEST(EngineJob, BatchMatesChunksAndThreadsChangeNothing) {
  const std::vector<RequestSpec> specs = mixed_specs();
  const std::vector<Tokens> wanted = run_alone(specs);
  for (const std::int64_t chunk : {0, 1, 2, 3, 5, 16, 64}) {
    for (const int num_threads : {1, 2, 3}) {
      Rig rig(1000, num_threads);
      rig.engine->chunk_budget().fix(chunk);
      EXPECT_EQ(run(rig, specs), wanted) << "chunk " << chunk;
      rig.expect_empty();
    }
  }
}

TEST(EngineJob, OrderOfRequestsChangesNothing) {
  std::vector<RequestSpec> specs;
  for (std::int64_t i = 0; i < 6; ++i) {
    specs.push_back(make_spec(some_tokens(3 + i, 5), 8, true, static_cast<std::uint64_t>(i)));
  }
  const std::vector<Tokens> wanted = run_alone(specs);
  std::reverse(specs.begin(), specs.end());
  Rig rig;
  std::vector<Tokens> reversed = run(rig, specs);
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(reversed, wanted);
}

TEST(EngineJob, SequencesShareThePrompt) {
  Rig rig;
  RequestSpec spec = make_spec(some_tokens(18, 3), 1, true, 9);
  spec.num_sequences = 5;
  Job job(rig.engine);
  job.add(spec);
  job.advance(Until::done, no_poll);
  // 17 rows of prompt once, then one row for each sequence.
  EXPECT_EQ(rig.model->num_rows, 17 + 5);
  EXPECT_EQ(job.stats().counters.rows, 17 + 5);
  EXPECT_EQ(job.stats().counters.recomputed_rows, 0);
  rig.check_integrity();
  EXPECT_EQ(rig.used_pages(), 0) << "the shared prompt outlives its sequences";
}

TEST(EngineJob, SharedPromptsAreReadSideBySide) {
  Rig rig;
  rig.engine->chunk_budget().fix(64);
  RequestSpec spec = make_spec(some_tokens(9, 3), 2, true);
  spec.num_sequences = 3;
  Job job(rig.engine);
  for (int i = 0; i < 4; ++i) job.add(spec);
  job.advance(Until::step, no_poll);
  EXPECT_EQ(rig.model->num_rows, 4 * 9);
  job.advance(Until::done, no_poll);
  EXPECT_EQ(rig.model->num_rows, 4 * (8 + 3 * 2));
}

TEST(EngineJob, TheSharedPromptIsDroppedWhicheverSequenceEndsLast) {
  for (const std::int64_t last : {0, 1, 2}) {
    Rig rig;
    RequestSpec spec = make_spec(some_tokens(9, 3), 30, true);
    spec.num_sequences = 3;
    Job job(rig.engine);
    job.add(spec);
    for (int i = 0; i < 4; ++i) job.advance(Until::step, no_poll);
    for (const std::int64_t sequence : {0, 1, 2}) {
      if (sequence != last) job.finish(0, sequence, 1, StopReason::criteria);
    }
    EXPECT_GT(rig.used_pages(), 0);
    job.finish(0, last, 1, StopReason::criteria);
    EXPECT_EQ(rig.used_pages(), 0);
    EXPECT_TRUE(job.done());
    EXPECT_EQ(job.advance(Until::done, no_poll).size(), 3u);
  }
}

TEST(EngineJob, RequestsMayBeAddedWhileOthersRun) {
  const std::vector<RequestSpec> specs = mixed_specs();
  const std::vector<Tokens> wanted = run_alone(specs);
  Rig rig;
  Job job(rig.engine);
  for (const RequestSpec& spec : specs) {
    job.add(spec);
    job.advance(Until::step, no_poll);
  }
  job.advance(Until::done, no_poll);
  std::size_t next = 0;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (std::int64_t j = 0; j < specs[i].num_sequences; ++j) {
      EXPECT_EQ(new_tokens(job, static_cast<std::int64_t>(i), j), wanted[next++]);
    }
  }
}

TEST(EngineJob, WaitingRequestsTakeThePlaceOfFinishedOnes) {
  // Room for two of them at a time.
  Rig rig(6);
  std::vector<RequestSpec> specs;
  for (std::int64_t i = 0; i < 10; ++i) specs.push_back(make_spec(some_tokens(5, 1), 4 + i % 3));
  EXPECT_EQ(run(rig, specs), run_alone(specs));
  rig.expect_empty();
}

TEST(EngineJob, EventsTellEveryTokenOnce) {
  for (const bool mixes : {false, true}) {
    Rig rig;
    Job job(rig.engine);
    std::vector<RequestSpec> specs = mixed_specs();
    for (const RequestSpec& spec : specs) job.add(spec);
    std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> told;
    std::int64_t finished = 0;
    constexpr std::array kWays{Until::step, Until::finished, Until::step, Until::done};
    for (std::size_t i = 0; !job.done(); ++i) {
      for (const JobEvent& event : job.advance(mixes ? kWays[i % 4] : Until::step, no_poll)) {
        std::int64_t& known = told[{event.request, event.sequence}];
        EXPECT_EQ(event.first_new, known);
        known += event.num_new;
        finished += event.stop == StopReason::none ? 0 : 1;
      }
      if (mixes && i == 1) {
        EXPECT_GE(finished, 1);
      }
    }
    std::int64_t sequences = 0;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      for (std::int64_t j = 0; j < specs[i].num_sequences; ++j) {
        ++sequences;
        const auto request = static_cast<std::int64_t>(i);
        EXPECT_EQ((told[{request, j}]), std::ssize(new_tokens(job, request, j)));
      }
    }
    EXPECT_EQ(finished, sequences);
  }
}

TEST(EngineJob, StopsAtEosAndLength) {
  const RequestSpec plain = make_spec(some_tokens(6, 2), 20);
  const Tokens all = run_alone({plain})[0];
  RequestSpec spec = plain;
  spec.sampling.eos_token_ids = {all[7]};
  const auto first = std::find(all.begin(), all.end(), all[7]) - all.begin();
  Rig rig;
  Job job(rig.engine);
  job.add(spec);
  job.add(plain);
  job.advance(Until::done, no_poll);
  EXPECT_EQ(new_tokens(job, 0), Tokens(all.begin(), all.begin() + first + 1));
  EXPECT_EQ(job.branch(0, 0).stop, StopReason::eos);
  EXPECT_EQ(new_tokens(job, 1), all);
  EXPECT_EQ(job.branch(1, 0).stop, StopReason::length);
}

TEST(EngineJob, NothingIsDoneForNoTokens) {
  Rig rig;
  Job job(rig.engine);
  RequestSpec spec = make_spec(some_tokens(6, 2), 0);
  spec.num_sequences = 2;
  job.add(spec);
  EXPECT_TRUE(job.done());
  const std::vector<JobEvent> events = job.advance(Until::done, no_poll);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].num_new, 0);
  EXPECT_EQ(events[1].stop, StopReason::length);
  EXPECT_EQ(rig.model->num_forwards, 0);
  EXPECT_TRUE(job.advance(Until::done, no_poll).empty());
}

TEST(EngineJob, ADeadlineStopsAfterTheFirstToken) {
  Rig rig;
  Job job(rig.engine);
  RequestSpec spec = make_spec(some_tokens(6, 2), 1000);
  spec.max_seconds = 0.0;
  job.add(spec);
  job.add(make_spec(some_tokens(6, 2), 10));
  job.advance(Until::done, no_poll);
  EXPECT_EQ(new_tokens(job, 0).size(), 1u);
  EXPECT_EQ(job.branch(0, 0).stop, StopReason::time);
  EXPECT_EQ(new_tokens(job, 1).size(), 10u);
}

TEST(EngineJob, FinishKeepsTheFirstTokens) {
  Rig rig;
  Job job(rig.engine);
  RequestSpec spec = make_spec(some_tokens(6, 2), 20);
  spec.logprobs = 2;
  job.add(spec);
  for (int i = 0; i < 5; ++i) job.advance(Until::step, no_poll);
  EXPECT_THROW(job.finish(0, 0, 6, StopReason::criteria), ValueError);
  EXPECT_THROW(job.finish(0, 0, -1, StopReason::criteria), ValueError);
  EXPECT_THROW(job.finish(0, 1, 0, StopReason::criteria), ValueError);
  job.finish(0, 0, 3, StopReason::stop_string);
  EXPECT_TRUE(job.done());
  EXPECT_EQ(job.branch(0, 0).readouts.size(), 3u);
  EXPECT_EQ(job.branch(0, 0).stop, StopReason::stop_string);
  const std::vector<JobEvent> events = job.advance(Until::done, no_poll);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].num_new, 0);
  EXPECT_EQ(job.stats().counters.generated_tokens, 3);
  rig.check_integrity();
  EXPECT_EQ(rig.used_pages(), 0);
}

TEST(EngineJob, GuidanceOfOneIsOffAndOthersAreNot) {
  RequestSpec spec = make_spec(some_tokens(6, 2), 12);
  const Tokens plain = run_alone({spec})[0];
  spec.negative_tokens = some_tokens(3, 8);
  EXPECT_EQ(run_alone({spec})[0], plain);
  spec.guidance_scale = 3.0f;
  const Tokens guided = run_alone({spec})[0];
  EXPECT_NE(guided, plain);
  spec.negative_tokens = some_tokens(4, 9);
  EXPECT_NE(run_alone({spec})[0], guided);
  spec.negative_tokens.clear();
  const Tokens by_default = run_alone({spec})[0];
  spec.negative_tokens = {spec.tokens.back()};
  EXPECT_EQ(run_alone({spec})[0], by_default);
}

TEST(EngineJob, CountersAreHonest) {
  Rig rig;
  rig.engine->chunk_budget().fix(64);
  Job job(rig.engine);
  const std::int64_t lengths[] = {7, 1, 12};
  for (const std::int64_t length : lengths) job.add(make_spec(some_tokens(length, 4), 5));
  job.advance(Until::done, no_poll);
  const Job::Stats stats = job.stats();
  EXPECT_EQ(stats.counters.forwards, rig.model->num_forwards);
  EXPECT_EQ(stats.counters.rows, rig.model->num_rows);
  EXPECT_EQ(stats.counters.rows, 6 + 0 + 11 + 3 * 5);
  EXPECT_EQ(stats.counters.forwards, 5);
  EXPECT_EQ(stats.counters.generated_tokens, 15);
  EXPECT_EQ(stats.decode_forwards, 15);
  EXPECT_EQ(stats.counters.recomputed_rows, 0);
  EXPECT_EQ(stats.preemptions, 0);
  // 11, 5 and 16 slots in pages of 4, at the last forward.
  EXPECT_EQ(stats.peak_cache_bytes, (3 + 2 + 4) * static_cast<std::int64_t>(FakeModel::kPageBytes));
  EXPECT_GT(stats.seconds, 0.0);
}

TEST(EngineJob, ReadoutsAreKeptOnDemand) {
  Rig rig;
  Job job(rig.engine);
  RequestSpec spec = make_spec(some_tokens(6, 2), 4);
  spec.logprobs = 3;
  spec.output_logits = true;
  spec.output_scores = true;
  spec.sampling.repetition_penalty = 2.0;
  job.add(spec);
  job.add(make_spec(some_tokens(6, 2), 4));
  job.advance(Until::done, no_poll);
  const std::vector<RowReadout>& readouts = job.branch(0, 0).readouts;
  ASSERT_EQ(readouts.size(), 4u);
  for (const RowReadout& readout : readouts) {
    EXPECT_EQ(readout.top.size(), 3u);
    EXPECT_EQ(readout.top[0].token, readout.token);
    EXPECT_EQ(std::ssize(readout.logits), FakeModel::kVocab);
    EXPECT_EQ(std::ssize(readout.scores), FakeModel::kVocab);
    EXPECT_NE(readout.logits, readout.scores);
    EXPECT_LT(readout.logprob, 0.0f);
  }
  EXPECT_TRUE(job.branch(1, 0).readouts.empty());
}

TEST(EngineJob, BadRequestsAreRefusedBeforeAnyWork) {
  Rig rig(4);
  Job job(rig.engine);
  EXPECT_THROW(job.add(make_spec({}, 1)), ValueError);
  EXPECT_THROW(job.add(make_spec({0, FakeModel::kVocab}, 1)), ValueError);
  EXPECT_THROW(job.add(make_spec({-1}, 1)), ValueError);
  EXPECT_THROW(job.add(make_spec({1}, -1)), ValueError);
  EXPECT_THROW(job.add(make_spec({1}, 16)), CacheFullError);
  RequestSpec guided = make_spec({1}, 8);
  guided.guidance_scale = 2.0f;
  EXPECT_THROW(job.add(guided), CacheFullError);
  RequestSpec none = make_spec({1}, 1);
  none.num_sequences = 0;
  EXPECT_THROW(job.add(none), ValueError);
  EXPECT_TRUE(job.done());
  EXPECT_EQ(job.add(make_spec({1}, 15)), 0);
  job.advance(Until::done, no_poll);
  EXPECT_EQ(new_tokens(job, 0), run_alone({make_spec({1}, 15)})[0]);
  job.close();
  EXPECT_THROW(job.add(make_spec({1}, 1)), ValueError);
  EXPECT_THROW(job.advance(Until::done, no_poll), ValueError);
  rig.expect_empty();
}

TEST(EngineJob, ACallThatNobodyReadsOnGivesWay) {
  Rig rig(8);
  const RequestSpec spec = make_spec(some_tokens(9, 1), 20);
  Job left(rig.engine);
  left.add(spec);
  for (int i = 0; i < 12; ++i) left.advance(Until::step, no_poll);
  EXPECT_EQ(run(rig, {spec})[0], run_alone({spec})[0]);
  left.advance(Until::done, no_poll);
  EXPECT_EQ(new_tokens(left, 0), run_alone({spec})[0]);
  EXPECT_GT(left.stats().counters.recomputed_rows, 0);
}

}  // namespace
}  // namespace foresight::engine_test
