#include "sample/draft_answers.h"

#include <memory>
#include <utility>

#include "core/error.h"
#include "sample/draws.h"
#include "sample/readout_parts.h"
#include "sample/verify.h"

namespace foresight {

namespace {

std::span<const float> weights_of(const KeptDistribution& kept) {
  return kept == nullptr ? std::span<const float>() : std::span<const float>(*kept);
}

// Fields that finish() decides about; what the reader has put beside them stays.
void set_token(RowReadout& row, RowReadout&& answer) {
  row.token = answer.token;
  row.accepted = answer.accepted;
  row.logprob = answer.logprob;
  row.raw_logprob = answer.raw_logprob;
  row.top = std::move(answer.top);
}

}  // namespace

void answer_draft(const CpuContext& context, const Ask& ask, const ReadoutOptions& options,
                  std::span<const float> scores, const RngKey& key, std::uint64_t position,
                  RowReadout& out) {
  const auto softmax = softmax_of(context, scores);
  if (!softmax) return;
  out.token = softmax->argmax;
  if (!options.do_sample) return;
  auto weights =
      std::make_shared<const std::vector<float>>(distribution_of(context, scores, *softmax));
  if (ask.draft_rule == DraftRule::sampled)
    out.token = draw<float>(*weights, uniform(key, position, ask.draw + kDraftDraw));
  out.drawn_from = std::move(weights);
}

void answer_verify(const CpuContext& context, const Ask& ask, const ReadoutOptions& options,
                   std::span<const float> scores, const RngKey& key, std::uint64_t position,
                   RowReadout& out) {
  FORESIGHT_CHECK(ask.token >= 0 && static_cast<std::size_t>(ask.token) < scores.size(),
                  concat("draft ", ask.token));
  const double accept_uniform = uniform(key, position, ask.draw + kAcceptDraw);
  const double token_uniform = uniform(key, position, ask.draw + kResidualDraw);
  if (ask.verification == Verification::synthetic) {
    out.accepted = accept_uniform < ask.thresholds.rate;
    if (out.accepted) {
      out.token = ask.token;
    } else if (options.do_sample) {
      out.token = sample_token(context, scores, token_uniform);
    } else {
      out.token = static_cast<Token>(best_of(context, scores).index);
    }
    return;
  }
  if (!options.do_sample) {
    out.token = static_cast<Token>(best_of(context, scores).index);
    out.accepted = out.token == ask.token;
    return;
  }
  std::vector<float> p = distribution_of(context, scores, checked_softmax(context, scores));
  if (ask.verification == Verification::typical) {
    out.accepted = is_typical<float>(p, ask.token, ask.thresholds.epsilon, ask.thresholds.delta);
    out.token = out.accepted ? ask.token : draw<float>(p, token_uniform);
    return;
  }
  const Verdict verdict =
      verify<float>(p, weights_of(ask.drawn_from), ask.token, accept_uniform, token_uniform);
  out.token = verdict.token;
  out.accepted = verdict.accepted;
}

void BlockAnswers::add(const CpuContext& context, const Ask& ask, const ReadoutOptions& options,
                       const RowScores& scores, const RngKey& key, std::uint64_t position,
                       RowReadout& out) {
  const std::span<const float> processed = scores.processed;
  std::vector<float> p = distribution_of(context, processed, checked_softmax(context, processed));
  const auto verdict = verifier_.next(p, weights_of(ask.drawn_from), ask.token,
                                      uniform(key, position, ask.draw + kAcceptDraw),
                                      uniform(key, position, ask.draw + kResidualDraw));
  if (verdict.ends) {
    cut_ = rows_.size();
    follows_ = {};
    follows_.token = verdict.token;
    fill_emitted(context, options, scores.raw, processed, follows_);
  }
  RowReadout& draft = drafts_.emplace_back();
  if (ask.token != kNoToken) {
    draft.token = ask.token;
    draft.accepted = true;
    fill_emitted(context, options, scores.raw, processed, draft);
  }
  rows_.push_back(&out);
}

void BlockAnswers::finish() {
  if (rows_.empty()) return;
  for (std::size_t i = 0; i < cut_; ++i) set_token(*rows_[i], std::move(drafts_[i]));
  set_token(*rows_[cut_], std::move(follows_));
  for (std::size_t i = cut_ + 1; i < rows_.size(); ++i) *rows_[i] = {};
}

}  // namespace foresight
