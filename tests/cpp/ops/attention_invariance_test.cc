// A row's attention has the bits that its list of visible keys gives, whatever surrounds it.
#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "cpp/ops/op_fixture.h"
#include "ops/parity/attention_problem.h"
#include "ops/parity/cases.h"

namespace foresight::ops {
namespace {

using parity::AttentionSequence;
using parity::AttentionShape;
using parity::Pattern;

constexpr Pattern kPatterns[] = {Pattern::causal,      Pattern::full,           Pattern::blocks,
                                 Pattern::semi_causal, Pattern::isolated_masks, Pattern::tree};

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from, std::int64_t index, std::int64_t size) {
  to.insert(to.end(), from.begin() + index * size, from.begin() + (index + 1) * size);
}

// What decoding one token after another would ask: the keys that `row` sees, in order, all cached
// but the last, which is the step's only row.
AttentionSequence as_decoded(const AttentionShape& shape, const AttentionSequence& from,
                             std::int64_t row) {
  AttentionSequence decoded;
  for (std::int64_t slot = 0; slot < from.num_slots(); ++slot) {
    if (!from.sees(row, slot, shape.window)) continue;
    append(decoded.k, from.k, slot, shape.num_kv_heads * shape.head_dim);
    append(decoded.v, from.v, slot, shape.num_kv_heads * shape.head_dim);
  }
  const auto count =
      static_cast<std::int64_t>(decoded.k.size()) / (shape.num_kv_heads * shape.head_dim);
  decoded.num_cached = count - 1;
  decoded.positions.resize(static_cast<std::size_t>(count));
  std::iota(decoded.positions.begin(), decoded.positions.end(), 0);
  decoded.ranks = {0};
  decoded.limits = {0};
  append(decoded.q, from.q, row, shape.num_heads * shape.head_dim);
  return decoded;
}

class AttentionInvariance : public OnEveryIsa {
 protected:
  void expect_rows_as_decoded(const AttentionShape& shape,
                              const std::vector<AttentionSequence>& sequences,
                              const std::string& what) {
    const auto got = bits_of(run_attention(context(), shape, sequences));
    AttentionShape plain = shape;
    plain.window = 0;
    const std::int64_t row_size = shape.num_heads * shape.head_dim;
    auto at = got.begin();
    for (const AttentionSequence& sequence : sequences) {
      for (std::int64_t row = 0; row < sequence.num_rows(); ++row, at += row_size) {
        const AttentionSequence decoded = as_decoded(shape, sequence, row);
        const auto wanted = bits_of(run_attention(context(), plain, {&decoded, 1}));
        ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), at))
            << what << ": row " << row << " of " << sequence.num_rows() << " after "
            << sequence.num_cached << ", " << name_of(shape.dtype);
      }
    }
  }
};

TEST_P(AttentionInvariance, EveryRowIsTheDecodedOne) {
  for (const DType dtype : parity::kAllDTypes) {
    for (const Pattern pattern : kPatterns) {
      const AttentionShape shape{.dtype = dtype, .num_heads = 6, .num_kv_heads = 2, .head_dim = 32};
      expect_rows_as_decoded(
          shape,
          {random_sequence(1, shape, pattern, 0, 9), random_sequence(2, shape, pattern, 37, 1),
           random_sequence(3, shape, pattern, 249, 14), random_sequence(4, shape, pattern, 530, 5)},
          std::string(name_of(pattern)));
    }
  }
}

TEST_P(AttentionInvariance, WideTreesUseSeveralWords) {
  const AttentionShape shape{
      .dtype = DType::bf16, .num_heads = 4, .num_kv_heads = 2, .head_dim = 34};
  expect_rows_as_decoded(shape, {random_sequence(1, shape, Pattern::tree, 200, 130)},
                         "tree of 130 rows");
}

TEST_P(AttentionInvariance, WindowsAndHiddenSlots) {
  for (const Pattern pattern : kPatterns) {
    AttentionShape shape{
        .dtype = DType::bf16, .num_heads = 2, .num_kv_heads = 1, .head_dim = 64, .window = 19};
    std::vector<AttentionSequence> sequences = {random_sequence(1, shape, pattern, 40, 23),
                                                random_sequence(2, shape, pattern, 300, 7)};
    expect_rows_as_decoded(shape, sequences, "window 19, " + std::string(name_of(pattern)));
    shape.window = 270;
    sequences[0].hidden_slots = {0, 3, 4, 15, 16, 39};
    sequences[1].hidden_slots = {31, 32, 33, 299};
    expect_rows_as_decoded(shape, sequences,
                           "hidden slots, window 270, " + std::string(name_of(pattern)));
    shape.window = 0;
    expect_rows_as_decoded(shape, sequences, "hidden slots, " + std::string(name_of(pattern)));
  }
}

TEST_P(AttentionInvariance, APrefillInPiecesIsThePrefillAtOnce) {
  const AttentionShape shape{
      .dtype = DType::bf16, .num_heads = 4, .num_kv_heads = 2, .head_dim = 80};
  const AttentionSequence whole = random_sequence(1, shape, Pattern::causal, 0, 301);
  const auto wanted = bits_of(run_attention(context(), shape, {&whole, 1}));
  const std::int64_t row_size = shape.num_heads * shape.head_dim;
  for (const std::int64_t size : {1, 7, 64, 129}) {
    for (std::int64_t begin = 0; begin < 301; begin += 5 * size) {
      AttentionSequence piece =
          random_sequence(1, shape, Pattern::causal, begin, std::min(size, 301 - begin));
      const std::int64_t slots = piece.num_slots();
      piece.k.assign(whole.k.begin(),
                     whole.k.begin() + slots * shape.num_kv_heads * shape.head_dim);
      piece.v.assign(whole.v.begin(),
                     whole.v.begin() + slots * shape.num_kv_heads * shape.head_dim);
      piece.q.assign(whole.q.begin() + begin * row_size, whole.q.begin() + slots * row_size);
      const auto got = bits_of(run_attention(context(), shape, {&piece, 1}));
      EXPECT_TRUE(std::equal(got.begin(), got.end(), wanted.begin() + begin * row_size))
          << "rows " << begin << " to " << slots;
    }
  }
}

TEST_P(AttentionInvariance, SequencesThatShareAPrefixReadItTogether) {
  const AttentionShape shape{
      .dtype = DType::bf16, .num_heads = 4, .num_kv_heads = 2, .head_dim = 64};
  std::vector<AttentionSequence> branches;
  for (std::uint64_t i = 0; i < 70; ++i) {
    const auto own = static_cast<std::int64_t>(i % 21);
    AttentionSequence branch =
        random_sequence(10 * i, shape, i % 4 == 3 ? Pattern::tree : Pattern::causal, 304 + own,
                        1 + static_cast<std::int64_t>(i % 3));
    if (i > 0) {
      branch.num_shared = i % 5 == 4 ? 16 : 304;
      const std::int64_t size = branch.num_shared * shape.num_kv_heads * shape.head_dim;
      std::copy_n(branches[0].k.begin(), size, branch.k.begin());
      std::copy_n(branches[0].v.begin(), size, branch.v.begin());
    }
    branches.push_back(branch);
  }
  expect_rows_as_decoded(shape, branches, "shared prefix");
}

TEST_P(AttentionInvariance, TheNumberOfThreadsCannotBeSeen) {
  const AttentionShape shape{
      .dtype = DType::f16, .num_heads = 4, .num_kv_heads = 2, .head_dim = 64};
  const std::vector<AttentionSequence> sequences = {
      random_sequence(1, shape, Pattern::causal, 300, 70),
      random_sequence(2, shape, Pattern::tree, 80, 40)};
  ThreadPool one(1), five(5);
  EXPECT_EQ(bits_of(run_attention(context(one), shape, sequences)),
            bits_of(run_attention(context(five), shape, sequences)));
}

TEST_P(AttentionInvariance, NanInOneSequenceStaysThere) {
  const AttentionShape shape{
      .dtype = DType::bf16, .num_heads = 4, .num_kv_heads = 2, .head_dim = 64};
  std::vector<AttentionSequence> sequences = {random_sequence(1, shape, Pattern::causal, 20, 3),
                                              random_sequence(2, shape, Pattern::causal, 33, 6)};
  const auto before = bits_of(run_attention(context(), shape, sequences));
  sequences[0].k[5] = std::numeric_limits<float>::quiet_NaN();
  sequences[0].v[9] = std::numeric_limits<float>::infinity();
  const auto after = bits_of(run_attention(context(), shape, sequences));
  const std::size_t rows_of_first = 3 * 4 * 64;
  EXPECT_TRUE(
      std::equal(before.begin() + rows_of_first, before.end(), after.begin() + rows_of_first));
  EXPECT_NE(before, after);
}

TEST_P(AttentionInvariance, AHiddenNanIsSelectedOut) {
  const AttentionShape shape{
      .dtype = DType::f32, .num_heads = 2, .num_kv_heads = 1, .head_dim = 32};
  AttentionSequence sequence = random_sequence(1, shape, Pattern::isolated_masks, 20, 9);
  sequence.hidden_slots = {11};
  const auto before = bits_of(run_attention(context(), shape, {&sequence, 1}));
  const std::size_t row = 32;
  sequence.k[11 * row] = sequence.v[11 * row] =
      std::numeric_limits<float>::quiet_NaN();  // the hidden slot
  const std::size_t mask = 20 + 8;              // the last masked row is seen by nobody else
  sequence.v[mask * row] = std::numeric_limits<float>::quiet_NaN();
  const auto after = bits_of(run_attention(context(), shape, {&sequence, 1}));
  EXPECT_TRUE(std::equal(before.begin(), before.end() - 2 * 32, after.begin()));
}

FORESIGHT_ON_EVERY_ISA(AttentionInvariance);

}  // namespace
}  // namespace foresight::ops
