// The decoder against itself: windows, ancestor bit-sets and asked rows, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "cpp/model/random_model.h"
#include "model/cpu_runtime.h"
#include "model/families/families.h"

namespace foresight {
namespace {

using model_test::RandomWeights;
using model_test::tiny_config;
using model_test::tiny_experts_config;

constexpr std::int64_t kPages = 20;

// A model with the pages of one sequence.
class OneSequence {
 public:
  OneSequence(const CpuContext& context, const ModelConfig& config, DType storage)
      : random_(config),
        model_(make_model(context, config, random_.weights(), storage)),
        pages_(kPages) {
    model_->allocate_pages(kPages);
    // Not in order, so that a slot is not a place.
    for (std::int64_t i = 0; i < kPages; ++i) {
      pages_[static_cast<std::size_t>(i)] = static_cast<std::int32_t>((i * 7 + 3) % kPages);
    }
  }

  // Logits of all rows of a segment [rows, vocab]. Each row is {token, position}; without ancestors
  // the rows are a causal chain.
  std::vector<float> forward(std::int64_t num_cached, const std::vector<Token>& tokens,
                             const std::vector<std::int32_t>& positions,
                             const std::vector<std::uint64_t>& ancestors = {}) {
    const auto num_rows = std::ssize(tokens);
    ForwardBatch batch;
    batch.tokens = tokens;
    batch.positions = positions;
    batch.ranks.resize(tokens.size());
    std::iota(batch.ranks.begin(), batch.ranks.end(), 0);
    batch.limits = batch.ranks;
    batch.logit_rows = batch.ranks;
    SegmentInput& segment = batch.segments.emplace_back();
    segment.pages = pages_;
    segment.num_cached = num_cached;
    segment.num_rows = num_rows;
    segment.ancestors = ancestors;
    const ForwardResult result = model_->forward(batch);
    const auto size = static_cast<std::size_t>(num_rows * model_->config().vocab_size);
    return {result.logits, result.logits + size};
  }
  std::vector<float> forward_chain(std::int64_t num_cached, const std::vector<Token>& tokens) {
    std::vector<std::int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), static_cast<std::int32_t>(num_cached));
    return forward(num_cached, tokens, positions);
  }

 private:
  RandomWeights random_;
  std::unique_ptr<ModelPort> model_;
  std::vector<std::int32_t> pages_;
};

std::vector<Token> some_tokens(std::int64_t count, std::uint64_t seed) {
  std::vector<Token> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<Token>(mix64(seed, static_cast<std::uint64_t>(i)) % 50));
  }
  return tokens;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

ModelConfig sliding_config(std::int64_t window, bool is_sliding) {
  ModelConfig config = tiny_config("mistral");
  config.layer_is_sliding = {is_sliding, is_sliding};
  config.sliding_window = window;
  config.rope_sliding = config.rope_full;
  return config;
}

TEST(Decoder, AWindowIsNotSeenInShortContexts) {
  const CpuRuntime runtime(1);
  OneSequence full(runtime.context(), sliding_config(20, false), DType::f32);
  OneSequence sliding(runtime.context(), sliding_config(20, true), DType::f32);
  const std::vector<Token> tokens = some_tokens(24, 1);
  const std::vector<float> wanted = full.forward_chain(0, tokens);
  const std::vector<float> found = sliding.forward_chain(0, tokens);
  constexpr std::ptrdiff_t kVocab = 50;
  for (std::ptrdiff_t row = 0; row < 24; ++row) {
    const bool same = std::equal(wanted.begin() + row * kVocab, wanted.begin() + (row + 1) * kVocab,
                                 found.begin() + row * kVocab);
    EXPECT_EQ(same, row < 20) << row;
  }
}

TEST(Decoder, ChunksOfAChainAreTheWholeChain) {
  const CpuRuntime runtime(2);
  const std::vector<Token> tokens = some_tokens(61, 1);
  for (const std::int64_t window : {0, 9}) {
    OneSequence whole(runtime.context(), sliding_config(9, window > 0), DType::bf16);
    const std::vector<float> wanted = whole.forward_chain(0, tokens);
    for (const std::int64_t chunk : {1, 3, 16, 60}) {
      OneSequence pieces(runtime.context(), sliding_config(9, window > 0), DType::bf16);
      std::vector<float> found;
      for (std::int64_t at = 0; at < 61; at += chunk) {
        const auto end = std::min<std::int64_t>(at + chunk, 61);
        const auto rows = pieces.forward_chain(at, {tokens.begin() + at, tokens.begin() + end});
        found.insert(found.end(), rows.begin(), rows.end());
      }
      EXPECT_TRUE(same_bits(found, wanted)) << "chunk " << chunk << ", window " << window;
    }
  }
}

struct Tree {
  std::vector<std::int32_t> parents;  // -1: the cached context
  std::vector<Token> tokens;
  std::vector<std::int32_t> positions;
  std::vector<std::uint64_t> ancestors;

  std::vector<std::int32_t> path_to(std::int32_t node) const {
    std::vector<std::int32_t> path;
    for (; node >= 0; node = parents[static_cast<std::size_t>(node)]) path.push_back(node);
    std::reverse(path.begin(), path.end());
    return path;
  }
};

Tree random_tree(std::int32_t num_nodes, std::int64_t num_cached, std::uint64_t seed) {
  Tree tree;
  tree.tokens = some_tokens(num_nodes, seed);
  const std::int32_t words = (num_nodes + 63) / 64;
  tree.ancestors.assign(static_cast<std::size_t>(num_nodes * words), 0);
  for (std::int32_t node = 0; node < num_nodes; ++node) {
    const auto bits = mix64(seed + 1, static_cast<std::uint64_t>(node));
    tree.parents.push_back(static_cast<std::int32_t>(bits % static_cast<std::uint64_t>(node + 1)) -
                           1);
    const std::vector<std::int32_t> path = tree.path_to(node);
    tree.positions.push_back(static_cast<std::int32_t>(num_cached + std::ssize(path) - 1));
    for (const std::int32_t seen : path) {
      tree.ancestors[static_cast<std::size_t>(node * words + seen / 64)] |= std::uint64_t{1}
                                                                            << (seen % 64);
    }
  }
  return tree;
}

class DecoderTrees : public testing::TestWithParam<Isa> {};

TEST_P(DecoderTrees, NodesAreWhatTheirPathsAreOneByOne) {
  const CpuRuntime runtime(2, GetParam());
  constexpr std::ptrdiff_t kVocab = 50;
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const std::int64_t window : {0, 11}) {
      ModelConfig config = sliding_config(11, window > 0);
      OneSequence model(runtime.context(), config, storage);
      std::uint64_t seed = 10;
      for (const std::int64_t num_cached : {1, 15, 30}) {
        for (const std::int32_t num_nodes : {2, 7, 70}) {
          const std::vector<Token> context = some_tokens(num_cached, 5);
          model.forward_chain(0, context);
          const Tree tree = random_tree(num_nodes, num_cached, ++seed);
          const auto found = model.forward(num_cached, tree.tokens, tree.positions, tree.ancestors);
          for (std::int32_t node = 0; node < num_nodes; node += 1 + num_nodes / 12) {
            std::vector<float> wanted;
            std::int64_t length = num_cached;
            for (const std::int32_t step : tree.path_to(node)) {
              wanted = model.forward_chain(length++, {tree.tokens[static_cast<std::size_t>(step)]});
            }
            const auto row = found.begin() + node * kVocab;
            EXPECT_TRUE(same_bits({row, row + kVocab}, wanted))
                << "node " << node << " of " << num_nodes;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, DecoderTrees, testing::ValuesIn(supported_isas()),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST(Decoder, ExpertsDoNotTellARowWhoElseIsThere) {
  for (const Isa isa : supported_isas()) {
    const CpuRuntime runtime(2, isa);
    const std::vector<Token> tokens = some_tokens(37, 3);
    for (const DType storage : {DType::f32, DType::bf16}) {
      OneSequence whole(runtime.context(), tiny_experts_config(), storage);
      const std::vector<float> wanted = whole.forward_chain(0, tokens);
      for (const std::int64_t chunk : {1, 5}) {
        OneSequence pieces(runtime.context(), tiny_experts_config(), storage);
        std::vector<float> found;
        for (std::int64_t at = 0; at < 37; at += chunk) {
          const auto end = std::min<std::int64_t>(at + chunk, 37);
          const auto rows = pieces.forward_chain(at, {tokens.begin() + at, tokens.begin() + end});
          found.insert(found.end(), rows.begin(), rows.end());
        }
        EXPECT_TRUE(same_bits(found, wanted)) << name_of(isa) << ", chunk " << chunk;
      }
    }
  }
}

TEST(Decoder, HiddenStatesOfAskedRowsAndLayers) {
  const CpuRuntime runtime(1);
  const ModelConfig config = tiny_config("llama");
  const RandomWeights random(config);
  const auto model = make_model(runtime.context(), config, random.weights(), DType::f32);
  model->allocate_pages(2);
  const std::vector<std::int32_t> pages{1, 0};
  ForwardBatch batch;
  batch.tokens = {4, 9, 4};
  batch.positions = batch.ranks = batch.limits = {0, 1, 2};
  batch.hidden_rows = {2, 0};
  batch.hidden_layers = {0, 2};
  SegmentInput& segment = batch.segments.emplace_back();
  segment.pages = pages;
  segment.num_rows = 3;
  const ForwardResult result = model->forward(batch);
  ASSERT_NE(result.hidden, nullptr);
  EXPECT_EQ(result.logits, nullptr);
  const std::vector<float> hidden(result.hidden, result.hidden + 4 * 32);
  const auto at = [&](std::ptrdiff_t row) {
    return std::vector<float>(hidden.begin() + row * 32, hidden.begin() + (row + 1) * 32);
  };
  EXPECT_TRUE(same_bits(at(0), at(2))) << "the embedding of the same token";
  EXPECT_FALSE(same_bits(at(1), at(3)));
}

}  // namespace
}  // namespace foresight
