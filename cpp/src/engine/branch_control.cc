#include "engine/branch_control.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "core/error.h"
#include "decode/policies.h"

namespace foresight {

// Writes the trace of what the controller is told, in the order in which it is told.
class BranchControl::Telling final : public Controller {
 public:
  Telling(std::shared_ptr<Controller> inner, BranchControl& control)
      : inner_(std::move(inner)), control_(control) {}

  Needs needs() const override { return inner_->all_needs(); }
  void on_start(const BranchesView& view, Actions& actions) override {
    inner_->on_start(view, actions);
  }
  void on_probe(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    auto& results = control_.live(branch).results;
    const auto place = results.find(view[branch].probes.back().num_tokens);
    const ProbeResult& told = control_.live(branch).told.emplace(std::move(place->second));
    results.erase(results.begin(), std::next(place));
    if (control_.trace_ != nullptr) {
      control_.trace_->probe(control_.branch(branch), told.num_tokens, std::ssize(told.tokens),
                             control_.text_of(told.answer));
    }
    inner_->on_probe(view, branch, actions);
  }
  void on_finish(const BranchesView& view, std::int32_t branch, Actions& actions) override {
    control_.tell_end(branch, view[branch], view.clock());
    Live& ended = control_.live(branch);
    control_.drop_probe(ended);  // asked for where the branch has ended
    control_.host_.note_told(*ended.branch);
    inner_->on_finish(view, branch, actions);
  }
  void on_interval(const BranchesView& view, Actions& actions) override {
    inner_->on_interval(view, actions);
  }
  std::vector<Vote> votes(const BranchesView& view) const override { return inner_->votes(view); }

 private:
  std::shared_ptr<Controller> inner_;
  BranchControl& control_;
};

BranchControl::BranchControl(ControlSpec spec, Request& request, BranchHost& host, JobTrace* trace)
    : spec_(std::move(spec)),
      request_(request),
      host_(host),
      trace_(trace),
      needs_(spec_.controller->all_needs()),
      probe_policy_(make_policy("autoregressive", {})),
      conductor_(std::make_shared<Telling>(spec_.controller, *this), *this, spec_.order) {}

BranchControl::~BranchControl() = default;

void BranchControl::run() {
  if (done()) return;
  try {
    for (std::int32_t i = 0; i < std::ssize(live_); ++i) probe_ahead(i);
    conductor_.run();
  } catch (...) {
    failed_ = true;
    for (Live& live : live_) {
      drop_probe(live);
      if (!live.branch->finished()) host_.end_branch(*live.branch, live.branch->num_new_tokens());
    }
    throw;
  }
  if (conductor_.done()) tell_outcome();
}

void BranchControl::tell_outcome() {
  if (is_outcome_told_ || trace_ == nullptr) return;
  is_outcome_told_ = true;
  trace_->outcome(request_, outcome().winner, outcome().clock, outcome().reason,
                  text_of(outcome().answer));
}

void BranchControl::tell_end(std::int32_t number, const BranchRecord& record, std::int64_t clock) {
  if (trace_ == nullptr) return;
  const Branch& ended = branch(number);
  const std::string reason = record.is_finished() ? name_of(ended.stop) : record.reason;
  if (needs_.confidence) {
    // Where it changes; of a branch that is shorter than a group, its last.
    const std::vector<float>& lowest = live(number).lowest_confidence;
    const std::int64_t end = std::min(record.num_tokens, std::ssize(lowest));
    float written = std::nanf("");
    for (std::int64_t n = std::max(std::int64_t{1}, std::min(needs_.confidence_group, end));
         n <= end; ++n) {
      const float value = lowest[static_cast<std::size_t>(n - 1)];
      if (value != written) trace_->confidence(ended, n, double{value});
      written = value;
    }
  }
  trace_->end(ended, name_of(record.status), record.num_tokens, clock, reason,
              text_of(record.answer));
}

std::optional<std::string> BranchControl::text_of(AnswerId answer) const {
  if (answer == kNoAnswer) return std::nullopt;
  return spec_.book->text(answer);
}

const ProbeResult* BranchControl::last_probe(std::int32_t number) const {
  const auto& told = live_[static_cast<std::size_t>(number)].told;
  return told.has_value() ? &*told : nullptr;
}

void BranchControl::start() { add(-1, 0); }

void BranchControl::fork(std::int32_t parent, std::int64_t num_tokens) {
  if (branch(parent).has_canvas())
    throw ValueError("a branch whose tokens are decided in any order cannot be forked");
  add(parent, num_tokens);
}

void BranchControl::add(std::int32_t parent, std::int64_t num_tokens) {
  if (std::ssize(live_) == kMostBranches)
    throw ValueError(concat("the controller starts more than ", kMostBranches, " branches"));
  if (!live_.empty() && !request_.readout.do_sample)
    throw ValueError("a second branch of greedy decoding would be like the first: sample");
  const Branch* source = parent < 0 ? nullptr : live(parent).branch;
  Live added;
  added.branch = &host_.add_branch(request_, source, num_tokens);
  if (parent >= 0 && needs_.confidence) {
    const std::vector<float>& known = live(parent).confidences;
    for (std::int64_t i = 0; i < std::min(num_tokens, std::ssize(known)); ++i)
      add_confidence(added, known[static_cast<std::size_t>(i)]);
  }
  live_.push_back(std::move(added));
  if (trace_ == nullptr) return;
  const BranchRecord& record = records().back();
  trace_->start(*live_.back().branch, std::ssize(live_) - 1, record.parent, record.inherited,
                record.start);
}

void BranchControl::end(std::int32_t number, BranchStatus, std::int64_t num_tokens) {
  Live& ended = live(number);
  drop_probe(ended);
  host_.end_branch(*ended.branch, std::min(num_tokens, ended.branch->num_new_tokens()));
  const BranchRecord& record = records()[static_cast<std::size_t>(number)];
  tell_end(number, record, record.start + record.num_tokens - record.inherited);
}

std::int64_t BranchControl::num_tokens(std::int32_t number) {
  return branch(number).num_new_tokens();
}

std::optional<Stage::Ending> BranchControl::ending(std::int32_t number) {
  Live& ended = live(number);
  if (!ended.branch->finished()) return std::nullopt;
  if (!ended.ending.has_value()) {
    const std::int64_t num_tokens = ended.branch->num_new_tokens();
    std::vector<Token> tokens;
    for (std::int64_t i = 0; i < num_tokens; ++i) tokens.push_back(ended.branch->new_token(i));
    ended.ending = Ending{.num_tokens = num_tokens,
                          .noticed_at = num_tokens,
                          .answer = read_answer(number, "", tokens)};
  }
  return ended.ending;
}

AnswerId BranchControl::read_answer(std::int32_t number, const char* what,
                                    std::span<const Token> tokens) {
  const auto text =
      spec_.answers->read(tokens, concat(what, "branch ", number, " of prompt ", request_.index));
  return text.has_value() ? spec_.book->id_of(*text) : kNoAnswer;
}

std::optional<AnswerId> BranchControl::probe(std::int32_t number, std::int64_t num_tokens) {
  Live& probed = live(number);
  if (probed.probe != nullptr) take_probe(number);
  const auto known = probed.results.find(num_tokens);
  if (known != probed.results.end()) return known->second.answer;
  // One at a time: what is asked for comes before what was begun ahead of the clock.
  if (probed.probe != nullptr && probed.probe->num_tokens != num_tokens) drop_probe(probed);
  if (probed.probe == nullptr) start_probe(probed, num_tokens);
  return std::nullopt;
}

// Begins the next probe of the interval as soon as the branch has come to it, however far behind
// the clock is: when the clock comes there, the pages that the probe would share may be gone.
void BranchControl::probe_ahead(std::int32_t number) {
  if (needs_.probe_interval == 0 || !records()[static_cast<std::size_t>(number)].is_running())
    return;
  Live& ahead = live(number);
  if (ahead.probe != nullptr) take_probe(number);
  if (ahead.probe != nullptr) return;
  const std::int64_t told = ahead.told.has_value() ? ahead.told->num_tokens : 0;
  const std::int64_t inherited = records()[static_cast<std::size_t>(number)].inherited;
  const std::int64_t last =
      ahead.results.empty() ? std::max(told, inherited) : ahead.results.rbegin()->first;
  const std::int64_t next = (last / needs_.probe_interval + 1) * needs_.probe_interval;
  const std::int64_t end = ahead.branch->num_new_tokens() - (ahead.branch->finished() ? 1 : 0);
  if (next <= end) start_probe(ahead, next);
}

// Takes what a probe that has come to its end has found.
void BranchControl::take_probe(std::int32_t number) {
  Live& probed = live(number);
  const Branch& copy = probed.probe->branch;
  if (!copy.finished()) return;
  ProbeResult result{.num_tokens = probed.probe->num_tokens};
  const auto begin = request_.prompt.size() + static_cast<std::size_t>(result.num_tokens);
  result.tokens.assign(copy.tokens.begin() + static_cast<std::ptrdiff_t>(begin), copy.tokens.end());
  drop_probe(probed);
  result.answer = read_answer(number, "a probe of ", result.tokens);
  probed.results.emplace(result.num_tokens, std::move(result));
}

// The copy is a request of its own that decodes greedily behind the suffix and shares the branch's
// pages. It is older than its branch, so that the two never wait for each other's pages: the copy
// comes to its end alone.
void BranchControl::start_probe(Live& live, std::int64_t num_tokens) {
  const Branch& source = *live.branch;
  if (source.has_canvas()) {
    throw ValueError(
        "a sequence whose tokens are decided in any order cannot be probed: use a controller "
        "that needs no probes");
  }
  if (!spec_.probe_suffix.has_value())
    throw ValueError("a probe needs a suffix that makes a branch answer: fs.Probe(suffix=...)");
  live.probe = std::make_unique<ProbeRun>();
  ProbeRun& run = *live.probe;
  run.num_tokens = num_tokens;
  Branch& copy = run.branch;
  const auto kept = request_.prompt.size() + static_cast<std::size_t>(num_tokens);
  copy.tokens.assign(source.tokens.begin(),
                     source.tokens.begin() + static_cast<std::ptrdiff_t>(kept));
  copy.num_copied = std::ssize(copy.tokens);
  copy.tokens.insert(copy.tokens.end(), spec_.probe_suffix->begin(), spec_.probe_suffix->end());
  copy.prompt_length = std::ssize(copy.tokens);
  run.request.index = request_.index;
  run.request.max_length = copy.prompt_length + spec_.max_probe_tokens;
  run.request.seed = request_.seed;
  run.request.eos_token_ids = request_.eos_token_ids;
  run.request.policy = probe_policy_;
  run.request.charged_to = &request_;
  copy.request = &run.request;
  copy.sequence = source.sequence;
  copy.probed = &source;
  copy.key = source.key;
  copy.order = source.order - 1;
  std::int64_t& high_water = copy.high_water[index_of(Role::target)];
  high_water = std::min(source.high_water[index_of(Role::target)], copy.num_copied);
  host_.add_probe(copy);
}

void BranchControl::drop_probe(Live& live) {
  if (live.probe == nullptr) return;
  Branch& copy = live.probe->branch;
  host_.remove_probe(copy);
  Counters& counters = live.branch->counters;
  counters.rows += copy.counters.rows;
  counters.recomputed_rows += copy.counters.recomputed_rows;
  if (copy.counters.rows > 0)
    counters.probe_tokens += std::ssize(*spec_.probe_suffix) + copy.counters.generated_tokens;
  live.probe.reset();
}

void BranchControl::observe(const StepEvent& event) {
  if (!needs_.confidence) return;
  Live& seen = live(static_cast<std::int32_t>(event.branch->sequence));
  for (const Decided& decided : event.decided)
    add_confidence(seen, static_cast<float>(decided.confidence));
}

void BranchControl::add_confidence(Live& live, float value) const {
  const auto group = static_cast<std::size_t>(needs_.confidence_group);
  const std::size_t index = live.confidences.size();
  live.confidences.push_back(value);
  live.group_sum += double{value};
  const bool is_whole = index + 1 >= group;
  if (index >= group) live.group_sum -= double{live.confidences[index - group]};
  const auto count = static_cast<double>(is_whole ? group : index + 1);
  const auto mean = static_cast<float>(live.group_sum / count);
  // Before a group is whole its mean stands alone.
  const bool follows = index >= group;
  live.lowest_confidence.push_back(follows ? std::min(live.lowest_confidence.back(), mean) : mean);
}

double BranchControl::confidence(std::int32_t number, std::int64_t num_tokens) {
  const std::vector<float>& lowest = live(number).lowest_confidence;
  if (num_tokens <= 0 || num_tokens > std::ssize(lowest)) return std::nan("");
  return double{lowest[static_cast<std::size_t>(num_tokens - 1)]};
}

// Of the whole pages that hold the branch's own tokens, as if it shared nothing but the prompt.
std::int64_t BranchControl::cache_bytes(std::int32_t number, std::int64_t num_tokens) {
  return host_.cache_bytes(branch(number), num_tokens);
}

bool BranchControl::is_starved(std::int32_t number) {
  const Branch& waiting = branch(number);
  return waiting.starved && !waiting.holds_pages() && !waiting.finished();
}

}  // namespace foresight
