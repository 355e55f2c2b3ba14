// Reading masks: every attention, alone and among others, under preemption, and what is shared.
#include "engine/reading.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "cpp/engine/rig.h"

namespace foresight::engine_test {
namespace {

constexpr Token kMask = FakeModel::kVocab - 1;
constexpr std::int64_t kBlock = 3;

void set_model(FakeModel& model, AttentionKind attention, bool shifted) {
  model.config().attention = attention;
  model.config().block_length = attention == AttentionKind::block_causal ? kBlock : 0;
  model.config().shifted = shifted;
  model.config().mask_token_id = kMask;
}

// `length` tokens of which those from `context` on are masked where the bits of `seed` say so.
MaskedRead some_read(std::int64_t context, std::int64_t length, std::uint64_t seed,
                     std::uint64_t context_seed) {
  MaskedRead read;
  for (std::int64_t i = 0; i < length; ++i) {
    const bool in_context = i < context;
    const std::uint64_t bits =
        mix64(in_context ? context_seed : seed, static_cast<std::uint64_t>(i));
    const auto token = static_cast<Token>(bits % kMask);
    const bool masked = !in_context && (bits >> 32) % 3 != 0;
    read.canvas.push_back(masked ? kMask : token);
    if (!masked || (bits >> 40) % 4 == 0) continue;
    read.positions.push_back(static_cast<std::int32_t>(i));
    read.targets.push_back(token);
  }
  return read;
}

std::vector<MaskedRead> some_reads() {
  std::vector<MaskedRead> reads;
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    const auto variant = static_cast<std::int64_t>(seed);
    reads.push_back(
        some_read(1 + (variant % 4) * 5, 12 + (variant % 4) * 5 + variant % 7, seed, seed % 2));
  }
  reads.push_back({.canvas = {1, kMask, 2}, .positions = {}, .targets = {}, .order = {}});
  return reads;
}

void expect_equal(const ScoredTokens& ours, const ScoredTokens& wanted, const std::string& what) {
  ASSERT_EQ(ours.size(), wanted.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    ASSERT_EQ(ours[i].size(), wanted[i].size()) << what << " canvas " << i;
    for (std::size_t j = 0; j < ours[i].size(); ++j) {
      EXPECT_EQ(ours[i][j].logprob, wanted[i][j].logprob) << what << " canvas " << i;
      EXPECT_EQ(ours[i][j].is_argmax, wanted[i][j].is_argmax);
      EXPECT_EQ(ours[i][j].max_prob, wanted[i][j].max_prob);
    }
  }
}

struct Reading {
  AttentionKind attention;
  bool shifted;
};

class EngineReading : public testing::TestWithParam<Reading> {
 protected:
  void set(Rig& rig) const { set_model(*rig.model, GetParam().attention, GetParam().shifted); }
  ScoredTokens alone(const std::vector<MaskedRead>& reads) const {
    ScoredTokens out;
    for (const MaskedRead& read : reads) {
      Rig rig;
      set(rig);
      out.push_back(read_masked(*rig.engine, {read}, no_poll).at(0));
      rig.expect_empty();
    }
    return out;
  }
};

// A session computes the same rows in another way.
TEST_P(EngineReading, AgreesWithTheLogitsOfTheWholeCanvas) {
  const std::vector<MaskedRead> reads = some_reads();
  const ScoredTokens ours = alone(reads);
  for (std::size_t i = 0; i < reads.size(); ++i) {
    Rig rig;
    set(rig);
    Session session(rig.engine);
    Session* pointer = &session;
    const std::vector<float> rows =
        feed(*rig.engine, {&pointer, 1}, {reads[i].canvas}, FeedWant::all_logits, {}, no_poll)
            .at(0)
            .values;
    ASSERT_EQ(ours[i].size(), reads[i].positions.size());
    for (std::size_t j = 0; j < ours[i].size(); ++j) {
      const std::int64_t reader = reads[i].positions[j] - (GetParam().shifted ? 1 : 0);
      const auto row = rows.begin() + reader * FakeModel::kVocab;
      double sum = 0.0;
      for (std::ptrdiff_t v = 0; v < FakeModel::kVocab; ++v)
        sum += std::exp(static_cast<double>(row[v]));
      const auto best = std::max_element(row, row + FakeModel::kVocab);
      const Token target = reads[i].targets[j];
      EXPECT_NEAR(ours[i][j].logprob, row[target] - std::log(sum), 1e-5);
      EXPECT_NEAR(ours[i][j].max_prob, std::exp(*best) / sum, 1e-5);
      EXPECT_EQ(ours[i][j].is_argmax, best == row + target);
    }
  }
}

TEST_P(EngineReading, DoesNotDependOnTheBatch) {
  const std::vector<MaskedRead> reads = some_reads();
  const ScoredTokens wanted = alone(reads);
  for (const std::int64_t num_pages : {9, 14, 1000}) {
    for (const std::int64_t chunk : {0, 1, 7, 64}) {
      Rig rig(num_pages);
      set(rig);
      rig.engine->chunk_budget().fix(chunk);
      expect_equal(read_masked(*rig.engine, reads, no_poll), wanted, concat("chunk ", chunk));
      rig.expect_empty();
    }
  }
}

TEST_P(EngineReading, PreemptionAfterEveryStepChangesNothing) {
  const std::vector<MaskedRead> reads = some_reads();
  const ScoredTokens wanted = alone(reads);
  Rig rig;
  set(rig);
  rig.engine->chunk_budget().fix(64);
  expect_equal(read_masked(*rig.engine, reads, [&] { rig.preempt_all(); }), wanted, "preempted");
  rig.expect_empty();
}

INSTANTIATE_TEST_SUITE_P(All, EngineReading,
                         testing::Values(Reading{AttentionKind::full, false},
                                         Reading{AttentionKind::full, true},
                                         Reading{AttentionKind::semi_causal, false},
                                         Reading{AttentionKind::semi_causal, true},
                                         Reading{AttentionKind::block_causal, false},
                                         Reading{AttentionKind::block_causal, true},
                                         Reading{AttentionKind::causal, false},
                                         Reading{AttentionKind::causal, true}));

TEST(EngineReadingCost, CleanBlocksAreComputedOnce) {
  for (const bool shifted : {false, true}) {
    Rig rig;
    set_model(*rig.model, AttentionKind::block_causal, shifted);
    std::vector<MaskedRead> reads;
    for (Token mask = 0; mask < 3; ++mask) {
      MaskedRead read{.canvas = some_tokens(9, 5), .positions = {}, .targets = {}, .order = {}};
      for (Token& token : read.canvas) token %= kMask;
      read.canvas.insert(read.canvas.end(), {1, 2, 3, 4, 5, 6});
      read.canvas[static_cast<std::size_t>(9 + mask)] = kMask;
      read.positions = {9 + mask};
      read.targets = {mask};
      reads.push_back(read);
    }
    read_masked(*rig.engine, reads, no_poll);
    // What follows the block of the last reading row is not computed. The mask at 9 of a shifted
    // model is read in the block before.
    EXPECT_EQ(rig.model->num_rows, shifted ? (6 + 3) + (9 + 2 * 3) : 9 + 3 * 3);
    EXPECT_LE(rig.model->num_forwards, 4);
  }
}

TEST(EngineReadingCost, MasksAfterTheLastReadOneAreLeftOut) {
  Rig rig;
  set_model(*rig.model, AttentionKind::semi_causal, false);
  const MaskedRead read{
      .canvas = {4, kMask, kMask, 5, kMask}, .positions = {4}, .targets = {2}, .order = {4, 1, 2}};
  const auto first = read_masked(*rig.engine, {read}, no_poll);
  EXPECT_EQ(rig.model->num_rows, 3);
  const MaskedRead later{
      .canvas = {4, kMask, kMask, 5, kMask}, .positions = {4}, .targets = {2}, .order = {1, 4, 2}};
  const auto second = read_masked(*rig.engine, {later}, no_poll);
  EXPECT_EQ(rig.model->num_rows, 3 + 4);
  EXPECT_NE(first[0][0].logprob, second[0][0].logprob);
}

TEST(EngineReadingCost, CanvasesShareForwards) {
  Rig rig;
  set_model(*rig.model, AttentionKind::full, false);
  rig.engine->chunk_budget().fix(400);
  std::vector<MaskedRead> reads;
  for (std::uint64_t seed = 0; seed < 80; ++seed) reads.push_back(some_read(4, 20, seed, 1));
  read_masked(*rig.engine, reads, no_poll);
  EXPECT_EQ(rig.model->num_rows, 80 * 20);
  EXPECT_EQ(rig.model->num_forwards, 4);
}

TEST(EngineReadingErrors, BadReadsAreRefusedBeforeAnyWork) {
  Rig rig(4);
  const MaskedRead good{.canvas = {1, kMask, kMask}, .positions = {1}, .targets = {2}, .order = {}};
  EXPECT_THROW(read_masked(*rig.engine, {good}, no_poll), ValueError);
  set_model(*rig.model, AttentionKind::full, false);
  const auto refuse = [&](auto&& change) {
    MaskedRead read = good;
    change(read);
    EXPECT_THROW(read_masked(*rig.engine, {good, read}, no_poll), ValueError);
  };
  refuse([](MaskedRead& read) { read.positions = {0}; });
  refuse([](MaskedRead& read) { read.positions = {3}; });
  refuse([](MaskedRead& read) { read.positions = {-1}; });
  refuse([](MaskedRead& read) { read.targets = {}; });
  refuse([](MaskedRead& read) { read.targets = {FakeModel::kVocab}; });
  refuse([](MaskedRead& read) { read.canvas[0] = -1; });
  refuse([](MaskedRead& read) { read.order = {1, 2}; });
  refuse([](MaskedRead& read) {
    read.positions = {1, 1};
    read.targets = {2, 2};
  });
  MaskedRead large = some_read(0, 17, 1, 1);
  EXPECT_THROW(read_masked(*rig.engine, {large}, no_poll), CacheFullError);
  set_model(*rig.model, AttentionKind::semi_causal, true);
  refuse([](MaskedRead& read) { read.order = {1}; });
  refuse([](MaskedRead& read) { read.order = {1, 1}; });
  refuse([](MaskedRead& read) {
    read.canvas[0] = kMask;
    read.positions = {0};
  });
  EXPECT_EQ(rig.model->num_forwards, 0);
  EXPECT_THROW(read_masked(*rig.engine, {good}, [] { throw Cancelled(); }), Cancelled);
  rig.expect_empty();
}

}  // namespace
}  // namespace foresight::engine_test
