#include "engine/draft_scores.h"

#include <utility>

#include "sample/draws.h"
#include "sample/readouts.h"
#include "sample/row_math.h"

namespace foresight {

std::span<float> target_scores(std::span<float> own, std::span<const Token> to_target,
                               std::int64_t target_vocab, const DraftTask& task,
                               std::span<const Token> history, std::vector<float>& storage) {
  std::span<float> scores = own;
  if (!to_target.empty() || std::ssize(own) < target_vocab) {
    storage.assign(static_cast<std::size_t>(target_vocab), kForbidden);
    for (std::size_t i = 0; i < own.size(); ++i) {
      const Token token = to_target.empty() ? static_cast<Token>(i) : to_target[i];
      if (token != kNoToken) storage[static_cast<std::size_t>(token)] = own[i];
    }
    scores = storage;
  }
  if (task.processors == nullptr) return scores;
  const ScoreContext score_context{.tokens = history, .prompt_length = task.prompt_length};
  for (const auto& processor : *task.processors) {
    if (processor->thread_safe()) processor->apply(score_context, scores);
  }
  return scores;
}

RowReadout draw_guess(const CpuContext& context, const DraftTask& task, std::span<float> scores,
                      std::int64_t depth, std::int64_t position) {
  RowReadout answer;
  const Ask ask{.kind = AskKind::draft, .draw = draft_draw(depth)};
  answer_ask(context, ask, {.do_sample = task.do_sample},
             {.raw = scores, .guided = scores, .processed = scores}, task.key,
             static_cast<std::uint64_t>(position), answer);
  return answer;
}

std::vector<TopEntry> best_guesses(const CpuContext& context, const DraftTask& task,
                                   std::span<float> scores, std::int64_t position) {
  if (!softmax_of(context, scores)) return {};
  RowReadout answer;
  const Ask ask{.kind = AskKind::top_k, .k = static_cast<std::int32_t>(task.shape.width)};
  answer_ask(context, ask, {}, {.raw = scores, .guided = scores, .processed = scores}, task.key,
             static_cast<std::uint64_t>(position), answer);
  return std::move(answer.top);
}

}  // namespace foresight
