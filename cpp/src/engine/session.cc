#include "engine/session.h"

#include <algorithm>
#include <mutex>

#include "core/error.h"
#include "decode/policies.h"
#include "engine/driver.h"

namespace foresight {

namespace {

void drive_all(Engine& engine, const std::vector<Branch*>& branches, FunctionRef<void()> poll) {
  Driver driver(engine);
  std::vector<StepEvent> events;
  while (driver.step(branches, events, poll).progressed) {
  }
}

// Drops what the cache holds of tokens from `length` on. Rows of a cut block have seen what is
// gone.
void truncate_cache(Engine& engine, const Branch& branch, std::int64_t length) {
  const ModelConfig& config = engine.config();
  if (config.attention == AttentionKind::block_causal) length -= length % config.block_length;
  const Cache::Handle handle = branch.handles[static_cast<std::size_t>(Role::target)];
  if (handle != Cache::kNoHandle && engine.cache().length(handle) > length)
    engine.cache().truncate(handle, length);
}

}  // namespace

Session::Session(std::shared_ptr<Engine> engine, std::int64_t max_length)
    : engine_(std::move(engine)) {
  request_.max_length = max_length;
  branch_.request = &request_;
  branch_.idle = true;
  branch_.keeps_cache = true;
  branch_.order = engine_->next_order();
  branch_.id = branch_.order;
  const std::lock_guard guard(engine_->step_mutex());
  engine_->add_tenant(branch_);
}

Session::~Session() { close(); }

std::vector<Token> Session::tokens() const {
  const std::lock_guard guard(engine_->step_mutex());
  return branch_.tokens;
}

std::int64_t Session::size() const {
  const std::lock_guard guard(engine_->step_mutex());
  return std::ssize(branch_.tokens);
}

void Session::close() {
  const std::lock_guard guard(engine_->step_mutex());
  if (closed_) return;
  check_usable();
  closed_ = true;
  engine_->remove_tenant(branch_);
}

void Session::check_usable() const {
  if (closed_) throw ValueError("the session is closed");
  if (busy_) throw ValueError("the session is in use by another call");
}

void Session::check_starts(const Engine& engine, const std::vector<Token>& prompt) const {
  check_usable();
  if (engine_.get() != &engine) throw ValueError("the session belongs to another model");
  const std::vector<Token>& held = branch_.tokens;
  if (held.size() > prompt.size() || !std::equal(held.begin(), held.end(), prompt.begin())) {
    throw ValueError("a request that starts from a session must begin with the session's tokens");
  }
}

Cache::Handle Session::fork_cache(std::int64_t length, std::int64_t max_length) {
  const Cache::Handle handle = branch_.handles[static_cast<std::size_t>(Role::target)];
  if (handle == Cache::kNoHandle) return Cache::kNoHandle;
  for (const RopeConfig* rope : {&engine_->config().rope_full, &engine_->config().rope_sliding}) {
    if (rope->scaled_length(max_length) != rope->scaled_length(request_.max_length))
      return Cache::kNoHandle;
  }
  return engine_->cache().fork(handle, std::min(length, engine_->cache().length(handle)));
}

std::unique_ptr<Session> Session::fork() {
  auto child = std::make_unique<Session>(engine_, request_.max_length);
  const std::lock_guard guard(engine_->step_mutex());
  check_usable();
  child->branch_.handles[static_cast<std::size_t>(Role::target)] =
      fork_cache(std::ssize(branch_.tokens), request_.max_length);
  child->branch_.tokens = branch_.tokens;
  child->branch_.high_water = branch_.high_water;
  return child;
}

void Session::truncate(std::int64_t length) {
  const std::lock_guard guard(engine_->step_mutex());
  check_usable();
  const auto size = static_cast<std::int64_t>(branch_.tokens.size());
  if (length < 0 || length > size) {
    throw ValueError(concat("cannot truncate a session of ", size, " tokens to ", length));
  }
  branch_.tokens.resize(static_cast<std::size_t>(length));
  truncate_cache(*engine_, branch_, length);
}

// Lends sessions' branches to a driver, and gives them back whatever happens: with their old tokens
// unless the feed was completed.
class Feeder {
 public:
  Feeder(Engine& engine, std::span<Session* const> sessions)
      : engine_(engine), sessions_(sessions) {}

  // Throws ValueError before it has changed anything.
  void begin(const std::vector<std::vector<Token>>& tokens, FeedWant want,
             const std::vector<std::int32_t>& hidden_layers) {
    const bool last = want == FeedWant::last_logits || want == FeedWant::last_hidden;
    const bool hidden = want == FeedWant::last_hidden || want == FeedWant::all_hidden;
    const std::string ask = want == FeedWant::none ? "none" : (hidden ? "hidden" : "logits");
    const std::lock_guard guard(engine_.step_mutex());
    for (std::size_t i = 0; i < sessions_.size(); ++i) check(i, tokens[i].size());
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
      Session& session = *sessions_[i];
      Branch& branch = session.branch_;
      const std::size_t old_size = branch.tokens.size();
      const std::size_t size = old_size + tokens[i].size();
      const auto start = static_cast<std::int64_t>(last ? size - 1 : old_size);
      session.request_.policy = make_policy("feed", {{"ask", ask}, {"start", start}});
      session.request_.hidden_layers = hidden_layers;
      branch.state.reset();
      branch.stop = StopReason::none;
      branch.reports.clear();
      branch.idle = false;
      session.busy_ = true;
      old_sizes_.push_back(old_size);
      branch.tokens.insert(branch.tokens.end(), tokens[i].begin(), tokens[i].end());
    }
  }

  void complete() { is_complete_ = true; }

  ~Feeder() {
    const std::lock_guard guard(engine_.step_mutex());
    for (std::size_t i = 0; i < old_sizes_.size(); ++i) {
      Session& session = *sessions_[i];
      Branch& branch = session.branch_;
      session.busy_ = false;
      branch.idle = true;
      if (is_complete_) continue;
      branch.tokens.resize(old_sizes_[i]);
      truncate_cache(engine_, branch, static_cast<std::int64_t>(old_sizes_[i]));
    }
  }

  std::vector<Branch*> branches() const {
    std::vector<Branch*> out;
    for (Session* session : sessions_) out.push_back(&session->branch_);
    std::sort(out.begin(), out.end(),
              [](const Branch* a, const Branch* b) { return a->order < b->order; });
    return out;
  }
  std::vector<RowReadout>& reports(std::size_t i) { return sessions_[i]->branch_.reports; }

 private:
  void check(std::size_t i, std::size_t num_new) const {
    const Session* session = sessions_[i];
    if (session == nullptr) throw ValueError(concat("session ", i, " is missing"));
    session->check_usable();
    if (session->engine_.get() != &engine_)
      throw ValueError("the session belongs to another model");
    const auto before = sessions_.first(i);
    if (std::find(before.begin(), before.end(), session) != before.end()) {
      throw ValueError(concat("session ", i, " is given twice"));
    }
    engine_.check_fits(static_cast<std::int64_t>(session->branch_.tokens.size() + num_new));
  }

  Engine& engine_;
  std::span<Session* const> sessions_;
  std::vector<std::size_t> old_sizes_;
  bool is_complete_ = false;
};

std::vector<FeedResult> feed(Engine& engine, std::span<Session* const> sessions,
                             const std::vector<std::vector<Token>>& tokens, FeedWant want,
                             const std::vector<std::int32_t>& hidden_layers,
                             FunctionRef<void()> poll) {
  if (tokens.size() != sessions.size()) {
    throw ValueError(concat(tokens.size(), " token lists for ", sessions.size(), " sessions"));
  }
  for (const std::int32_t layer : hidden_layers) {
    if (layer < 0 || layer > engine.config().num_layers) {
      throw ValueError(
          concat("hidden layer ", layer, " is outside [0, ", engine.config().num_layers, "]"));
    }
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    engine.check_tokens(tokens[i]);
    if (tokens[i].empty()) throw ValueError(concat("token list ", i, " is empty"));
  }
  Feeder feeder(engine, sessions);
  feeder.begin(tokens, want, hidden_layers);
  drive_all(engine, feeder.branches(), poll);
  feeder.complete();

  const bool hidden = want == FeedWant::last_hidden || want == FeedWant::all_hidden;
  std::vector<FeedResult> results(sessions.size());
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    FeedResult& result = results[i];
    std::vector<RowReadout>& reports = feeder.reports(i);
    result.num_rows = static_cast<std::int64_t>(reports.size());
    for (RowReadout& report : reports) {
      const std::vector<float>& row = hidden ? report.hidden : report.logits;
      result.row_size = static_cast<std::int64_t>(row.size());
      result.values.insert(result.values.end(), row.begin(), row.end());
    }
    reports.clear();
  }
  return results;
}

}  // namespace foresight
