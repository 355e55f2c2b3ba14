// Sessions: tokens with their cached K/V that live between calls. They may lose their pages to
// running branches and get them back, never their tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/function_ref.h"
#include "engine/branch.h"
#include "engine/engine.h"

namespace foresight {

class Session {
 public:
  // max_length: the longest length it may reach, which fixes the base of dynamic rope scaling;
  // 0: not known, never scaled.
  explicit Session(std::shared_ptr<Engine> engine, std::int64_t max_length = 0);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // A copy; during a feed it holds the tokens that are being fed too.
  std::vector<Token> tokens() const;
  std::int64_t size() const;
  Engine& engine() { return *engine_; }
  // All throw ValueError while another call uses the session, and but for close() when it is
  // closed. fork() shares the pages that are cached now.
  std::unique_ptr<Session> fork();
  // Throws ValueError unless 0 <= length <= size.
  void truncate(std::int64_t length);
  void close();

  // For a request that starts from this session, under the engine's lock. Throws ValueError unless
  // the prompt begins with the session's tokens and the engine is the session's.
  void check_starts(const Engine& engine, const std::vector<Token>& prompt) const;
  // A handle on the first min(cached, length) slots, or kNoHandle when they are not what a request
  // of up to max_length tokens would have computed (dynamic rope scaling).
  Cache::Handle fork_cache(std::int64_t length, std::int64_t max_length);

 private:
  friend class Feeder;
  void check_usable() const;

  std::shared_ptr<Engine> engine_;
  Request request_;
  Branch branch_;
  bool closed_ = false;
  bool busy_ = false;  // a feed is running in some thread
};

// What the fed rows report.
enum class FeedWant : std::uint8_t { none, last_logits, all_logits, last_hidden, all_hidden };

struct FeedResult {
  std::int64_t num_rows = 0;  // reported rows
  std::int64_t row_size = 0;  // vocab, or layers x hidden
  std::vector<float> values;  // [num_rows, row_size]
};

// Appends tokens to sessions in shared forwards. Throws ValueError (closed or busy session, the
// same session twice, bad token ids, bad layers) before any work; when it throws later (cancelled,
// out of memory) the sessions have their old tokens.
std::vector<FeedResult> feed(Engine& engine, std::span<Session* const> sessions,
                             const std::vector<std::vector<Token>>& tokens, FeedWant want,
                             const std::vector<std::int32_t>& hidden_layers,
                             FunctionRef<void()> poll);

}  // namespace foresight
