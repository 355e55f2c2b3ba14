#include "engine/reader.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace foresight {

namespace {

bool needs_logits(AskKind kind) { return kind != AskKind::none && kind != AskKind::hidden; }

bool drafts(const Ask& ask) { return ask.kind == AskKind::draft; }
bool tests_or_drafts(const Ask& ask) { return drafts(ask) || ask.kind == AskKind::verify; }
// Whether rows of its segment must be answered one after another.
bool is_chained(const Ask& ask) { return tests_or_drafts(ask) || ask.condition.row >= 0; }

// Calls visit(row, answer) for the asking rows of a segment before `end`, in order.
template <typename Visit>
void visit_answers(const Segment& segment, const std::vector<RowReadout>& answers, std::int32_t end,
                   Visit visit) {
  std::size_t next = 0;
  for (std::int32_t r = 0; r < end; ++r) {
    const Row& row = segment.rows[static_cast<std::size_t>(r)];
    if (row.ask.kind != AskKind::none) visit(r, answers[next++]);
  }
}

bool is_met(const Condition& condition, const Segment& segment,
            const std::vector<RowReadout>& answers) {
  if (condition.row < 0) return true;
  bool met = false;
  visit_answers(segment, answers, condition.row + 1, [&](std::int32_t r, const RowReadout& answer) {
    if (r != condition.row || answer.token == kNoToken) return;
    met = condition.token != kNoToken ? answer.token == condition.token
                                      : answer.accepted == condition.accepted;
  });
  return met;
}

// The token that rows before `end` have decided or guessed for a position.
Token token_at(std::int32_t position, const Segment& segment,
               const std::vector<RowReadout>& answers, std::int32_t end) {
  Token token = kNoToken;
  visit_answers(segment, answers, end, [&](std::int32_t r, const RowReadout& answer) {
    const bool decides = segment.rows[static_cast<std::size_t>(r)].position + 1 == position;
    if (decides && answer.token != kNoToken) token = answer.token;
  });
  return token;
}

// A processor sees the tokens before the position that the row decides. With a canvas, or where a
// row decides its own position, those are at hand; else they are those before the planned rows,
// then the planned rows visible to it, itself last. Rows that draft are masks: in their places it
// sees what this step has put there.
std::span<const Token> history_of(const WorkItem& item, const Segment& segment,
                                  const std::vector<RowReadout>& answers, std::int32_t row,
                                  std::vector<Token>& storage) {
  const std::vector<Token>& tokens = item.branch->tokens;
  const Row& asking = segment.rows[static_cast<std::size_t>(row)];
  if (asking.ask.decides != kNextPosition)
    return std::span(tokens).first(static_cast<std::size_t>(asking.ask.decides));
  const auto start = static_cast<std::size_t>(segment.rows.front().position);
  const bool is_committed =
      segment.rows.size() == 1 && start < tokens.size() && tokens[start] == asking.token;
  if (is_committed) return {tokens.data(), start + 1};
  storage.assign(tokens.begin(),
                 tokens.begin() + static_cast<std::ptrdiff_t>(std::min(start, tokens.size())));
  const std::size_t words = (segment.rows.size() + 63) / 64;
  for (std::int32_t k = 0; k <= row; ++k) {
    const Row& other = segment.rows[static_cast<std::size_t>(k)];
    bool sees = k == row;
    if (segment.ancestors.empty()) {
      sees = sees || other.rank <= asking.limit;
    } else {
      const std::size_t word =
          static_cast<std::size_t>(row) * words + static_cast<std::size_t>(k) / 64;
      sees = sees || ((segment.ancestors[word] >> (k % 64)) & 1u) != 0;
    }
    if (!sees) continue;
    storage.push_back(drafts(other.ask) ? token_at(other.position, segment, answers, row)
                                        : other.token);
  }
  return storage;
}

}  // namespace

void Reader::collect(std::span<WorkItem> items, ForwardBatch& batch) {
  asked_.clear();
  for (WorkItem& item : items) {
    if (!item.planned) continue;
    item.readout.segments.assign(item.plan.segments.size(), {});
    for (std::size_t s = 0; s < item.plan.segments.size(); ++s) {
      const Segment& segment = item.plan.segments[s];
      for (std::size_t r = 0; r < segment.rows.size(); ++r) {
        const Ask& ask = segment.rows[r].ask;
        if (ask.kind == AskKind::none) continue;
        const auto plan_segment = static_cast<std::int32_t>(s);
        std::vector<RowReadout>& answers = item.readout.segments[s];
        Asked asked{.item = &item,
                    .plan_segment = plan_segment,
                    .row = static_cast<std::int32_t>(r),
                    .answer = static_cast<std::int32_t>(answers.size())};
        answers.emplace_back();
        const auto batch_row = [&](std::int32_t segment_index, std::int32_t row) {
          const PackedSegment* packed = item.segment_of_plan(segment_index);
          FORESIGHT_CHECK(packed != nullptr && row >= 0 && row < packed->num_planned,
                          "row of the plan");
          return static_cast<std::int32_t>(packed->first_row + packed->num_catch_up + row);
        };
        if (needs_logits(ask.kind)) {
          asked.logits = static_cast<std::int64_t>(batch.logit_rows.size());
          batch.logit_rows.push_back(batch_row(plan_segment, asked.row));
          if (ask.guidance.segment >= 0) {
            asked.other_logits = static_cast<std::int64_t>(batch.logit_rows.size());
            batch.logit_rows.push_back(batch_row(ask.guidance.segment, ask.guidance.row));
          }
        } else {
          asked.hidden = static_cast<std::int64_t>(batch.hidden_rows.size());
          batch.hidden_rows.push_back(batch_row(plan_segment, asked.row));
          const auto& layers = item.branch->request->hidden_layers;
          FORESIGHT_CHECK(batch.hidden_layers.empty() || batch.hidden_layers == layers,
                          "one list of hidden layers per step");
          batch.hidden_layers = layers;
        }
        asked_.push_back(asked);
      }
    }
  }
}

void Reader::answer(const CpuContext& context, const Rows& rows, const Asked& asked,
                    BlockAnswers& block) const {
  WorkItem& item = *asked.item;
  const Request& request = *item.branch->request;
  const Segment& segment = item.plan.segments[static_cast<std::size_t>(asked.plan_segment)];
  const Row& row = segment.rows[static_cast<std::size_t>(asked.row)];
  std::vector<RowReadout>& answers =
      item.readout.segments[static_cast<std::size_t>(asked.plan_segment)];
  RowReadout& out = answers.at(static_cast<std::size_t>(asked.answer));
  if (!is_met(row.ask.condition, segment, answers)) return;
  const bool is_joint = request.readout.do_sample && row.ask.kind == AskKind::verify &&
                        row.ask.verification == Verification::block;
  if (is_joint && block.is_decided()) return;
  if (asked.hidden >= 0) {
    const auto size = static_cast<std::size_t>(rows.num_hidden_layers * rows.hidden_size);
    const float* from = rows.hidden + static_cast<std::size_t>(asked.hidden) * size;
    out.hidden.assign(from, from + size);
    return;
  }
  const auto vocab = static_cast<std::size_t>(rows.vocab_size);
  const auto row_of = [&](std::int64_t index) {
    return rows.logits.subspan(static_cast<std::size_t>(index) * vocab, vocab);
  };
  const std::span<float> scores = row_of(asked.logits);
  if (row.ask.kind == AskKind::logits) {
    out.logits.assign(scores.begin(), scores.end());
    return;
  }
  const bool emits = row.ask.kind == AskKind::argmax || row.ask.kind == AskKind::sample ||
                     row.ask.kind == AskKind::verify;
  const bool processes = row.ask.kind != AskKind::prob_of;
  const bool guides = processes && asked.other_logits >= 0;
  const bool warps = processes && !request.processors.empty();
  RowScores views{.raw = scores, .guided = scores, .processed = scores};
  std::vector<float> raw_copy;
  std::vector<float> guided_copy;
  if ((guides || warps) && (request.readout.logprobs || request.output_logits)) {
    raw_copy.assign(scores.begin(), scores.end());
    views.raw = raw_copy;
  }
  if (guides) combine_guidance(context, scores, row_of(asked.other_logits), row.ask.guidance.scale);
  if (warps) {
    if (reads_raw(row.ask.confidence)) {
      guided_copy.assign(scores.begin(), scores.end());
      views.guided = guided_copy;
    }
    std::vector<Token> storage;
    const ScoreContext score_context{
        .tokens = history_of(item, segment, answers, asked.row, storage),
        .prompt_length = item.branch->prompt_length};
    // Nothing is guessed behind a guess that could not be made.
    if (drafts(row.ask) && std::find(storage.begin(), storage.end(), kNoToken) != storage.end())
      return;
    for (const auto& processor : request.processors) {
      // A user's own sees every position once: when it is decided, not when it is guessed.
      if (drafts(row.ask) && !processor->thread_safe()) continue;
      const bool whole = tests_or_drafts(row.ask) && row.ask.draft_rule == DraftRule::argmax;
      if (whole && processor->truncates()) continue;
      processor->apply(score_context, scores);
    }
  }
  // A mask is no guess.
  if (drafts(row.ask) && row.token >= 0 && row.token < rows.vocab_size)
    scores[static_cast<std::size_t>(row.token)] = -std::numeric_limits<float>::infinity();
  // The position that the row decides keys its draw.
  const auto decided = static_cast<std::uint64_t>(
      row.ask.decides == kNextPosition ? row.position + 1 : row.ask.decides);
  if (is_joint) {
    block.add(context, row.ask, request.readout, views, item.branch->key, decided, out);
  } else {
    answer_ask(context, row.ask, request.readout, views, item.branch->key, decided, out);
  }
  if (emits && request.output_logits) out.logits.assign(views.raw.begin(), views.raw.end());
  if (emits && request.output_scores) out.scores.assign(scores.begin(), scores.end());
}

void Reader::read(const CpuContext& context, std::int64_t vocab_size, std::int64_t hidden_size,
                  const ForwardResult& result, const ForwardBatch& batch) {
  const Rows rows{
      .logits = {result.logits, batch.logit_rows.size() * static_cast<std::size_t>(vocab_size)},
      .hidden = result.hidden,
      .vocab_size = vocab_size,
      .hidden_size = hidden_size,
      .num_hidden_layers = static_cast<std::int64_t>(batch.hidden_layers.size())};
  // Thread-safe rows first, all at once.
  list_units();
  const auto first_serial =
      std::stable_partition(units_.begin(), units_.end(), [&](const Unit& unit) {
        return asked_[unit.begin].item->branch->request->processors_thread_safe;
      });
  const auto num_parallel = static_cast<std::size_t>(first_serial - units_.begin());
  const auto answer_unit = [&](const Unit& unit) {
    BlockAnswers block;
    for (std::size_t i = unit.begin; i < unit.end; ++i) answer(context, rows, asked_[i], block);
    block.finish();
  };
  context.threads->parallel_for(num_parallel, [&](std::size_t i, int) { answer_unit(units_[i]); });
  std::for_each(first_serial, units_.end(), answer_unit);
}

void Reader::list_units() {
  units_.clear();
  for (std::size_t begin = 0; begin < asked_.size();) {
    const Asked& first = asked_[begin];
    std::size_t end = begin;
    bool chained = false;
    for (; end < asked_.size() && asked_[end].item == first.item &&
           asked_[end].plan_segment == first.plan_segment;
         ++end) {
      const Segment& segment =
          first.item->plan.segments[static_cast<std::size_t>(first.plan_segment)];
      chained = chained || is_chained(segment.rows[static_cast<std::size_t>(asked_[end].row)].ask);
    }
    if (chained) {
      units_.push_back({begin, end});
    } else {
      for (std::size_t i = begin; i < end; ++i) units_.push_back({i, i + 1});
    }
    begin = end;
  }
}

}  // namespace foresight
