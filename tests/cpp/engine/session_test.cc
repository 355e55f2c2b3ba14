// Sessions and scores.
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "cpp/engine/rig.h"
#include "engine/reading.h"

namespace foresight::engine_test {
namespace {

FeedResult feed_one(Rig& rig, Session& session, const Tokens& tokens,
                    FeedWant want = FeedWant::all_logits,
                    const std::vector<std::int32_t>& layers = {}) {
  Session* pointer = &session;
  return feed(*rig.engine, {&pointer, 1}, {tokens}, want, layers, no_poll).at(0);
}

// Rows of logits of the whole list, computed at once.
std::vector<float> logits_of(const Tokens& tokens) {
  Rig rig;
  Session session(rig.engine);
  return feed_one(rig, session, tokens).values;
}

std::vector<float> last_row(const std::vector<float>& rows) {
  return {rows.end() - FakeModel::kVocab, rows.end()};
}

TEST(EngineSession, PiecesGiveWhatTheWholeGives) {
  const Tokens tokens = some_tokens(75, 1);
  const std::vector<float> wanted = logits_of(tokens);
  ASSERT_EQ(std::ssize(wanted), 75 * FakeModel::kVocab);
  for (const std::int64_t chunk : {0, 1, 7}) {
    for (const std::int64_t piece : {1, 2, 5, 33, 74}) {
      Rig rig(20);
      rig.engine->chunk_budget().fix(chunk);
      Session session(rig.engine);
      std::vector<float> rows;
      for (std::int64_t at = 0; at < 75; at += piece) {
        const std::int64_t end = std::min<std::int64_t>(at + piece, 75);
        const FeedResult result =
            feed_one(rig, session, {tokens.begin() + at, tokens.begin() + end});
        EXPECT_EQ(result.num_rows, end - at);
        rows.insert(rows.end(), result.values.begin(), result.values.end());
        if (at % 3 == 0) rig.preempt_all();
      }
      EXPECT_EQ(rows, wanted);
      EXPECT_EQ(session.tokens(), tokens);
      session.close();
      rig.expect_empty();
    }
  }
}

TEST(EngineSession, LastAndNone) {
  Rig rig;
  Session session(rig.engine);
  const Tokens tokens = some_tokens(40, 1);
  const FeedResult none =
      feed_one(rig, session, {tokens.begin(), tokens.begin() + 10}, FeedWant::none);
  EXPECT_EQ(none.num_rows, 0);
  EXPECT_EQ(rig.model->num_rows, 10);
  const FeedResult last =
      feed_one(rig, session, {tokens.begin() + 10, tokens.end()}, FeedWant::last_logits);
  EXPECT_EQ(last.num_rows, 1);
  EXPECT_EQ(rig.model->num_rows, 40);
  EXPECT_EQ(last.values, last_row(logits_of(tokens)));
}

TEST(EngineSession, HiddenStates) {
  Rig rig;
  Session session(rig.engine);
  const FeedResult all = feed_one(rig, session, some_tokens(5, 1), FeedWant::all_hidden, {0, 2});
  EXPECT_EQ(all.num_rows, 5);
  EXPECT_EQ(all.row_size, 2 * FakeModel::kHidden);
  const FeedResult last = feed_one(rig, session, {3}, FeedWant::last_hidden, {1});
  EXPECT_EQ(last.num_rows, 1);
  EXPECT_EQ(last.row_size, FakeModel::kHidden);
  EXPECT_THROW(feed_one(rig, session, {1}, FeedWant::all_hidden, {3}), ValueError);
  EXPECT_THROW(feed_one(rig, session, {1}, FeedWant::all_hidden, {-1}), ValueError);
  EXPECT_EQ(session.size(), 6);
}

TEST(EngineSession, ForksGoTheirOwnWay) {
  Rig rig;
  Session session(rig.engine);
  const Tokens tokens = some_tokens(14, 1);
  feed_one(rig, session, tokens, FeedWant::none);
  const std::int64_t used = rig.used_pages();
  const auto fork = session.fork();
  const auto empty_fork = Session(rig.engine).fork();
  EXPECT_EQ(rig.used_pages(), used);
  const std::int64_t rows = rig.model->num_rows;
  Session* both[] = {fork.get(), &session};
  const auto results = feed(*rig.engine, both, {{5, 6}, {7}}, FeedWant::last_logits, {}, no_poll);
  EXPECT_EQ(rig.model->num_rows, rows + 3);
  Tokens forked = tokens;
  forked.insert(forked.end(), {5, 6});
  Tokens own = tokens;
  own.push_back(7);
  EXPECT_EQ(results[0].values, last_row(logits_of(forked)));
  EXPECT_EQ(results[1].values, last_row(logits_of(own)));
  EXPECT_EQ(fork->tokens(), forked);
  EXPECT_EQ(session.tokens(), own);
  EXPECT_EQ(empty_fork->size(), 0);
  rig.check_integrity();
}

TEST(EngineSession, TruncateAndGoOn) {
  for (const bool preempts : {false, true}) {
    Rig rig;
    Session session(rig.engine);
    feed_one(rig, session, some_tokens(14, 1));
    for (const std::int64_t length : {14, 11, 8, 3, 0}) {
      session.truncate(length);
      const auto fork = session.fork();
      if (preempts) rig.preempt_all();
      Tokens tokens = some_tokens(length, 1);
      tokens.insert(tokens.end(), {2, 3});
      EXPECT_EQ(feed_one(rig, *fork, {2, 3}, FeedWant::last_logits).values,
                last_row(logits_of(tokens)));
      rig.check_integrity();
    }
    EXPECT_THROW(session.truncate(1), ValueError);
    EXPECT_THROW(session.truncate(-1), ValueError);
  }
}

TEST(EngineSession, BadCallsAreRefusedBeforeAnyWork) {
  Rig rig(4);
  Rig other;
  Session session(rig.engine);
  Session foreign(other.engine);
  Session closed(rig.engine);
  closed.close();
  closed.close();
  const auto refused = [&](std::vector<Session*> sessions, const std::vector<Tokens>& tokens) {
    EXPECT_THROW(feed(*rig.engine, sessions, tokens, FeedWant::none, {}, no_poll), ValueError);
    EXPECT_EQ(session.size(), 0);
  };
  refused({&session, &session}, {{1}, {1}});
  refused({&session, &foreign}, {{1}, {1}});
  refused({&session, &closed}, {{1}, {1}});
  refused({&session, nullptr}, {{1}, {1}});
  refused({&session}, {{1}, {1}});
  refused({&session}, {{}});
  refused({&session}, {{FakeModel::kVocab}});
  EXPECT_THROW(feed_one(rig, session, some_tokens(17, 1)), CacheFullError);
  EXPECT_THROW(closed.fork(), ValueError);
  EXPECT_THROW(closed.truncate(0), ValueError);
  EXPECT_EQ(session.size(), 0);
  EXPECT_EQ(rig.model->num_forwards, 0);
  EXPECT_TRUE(feed(*rig.engine, {}, {}, FeedWant::none, {}, no_poll).empty());
}

TEST(EngineSession, IsBusyDuringACall) {
  Rig rig;
  Session session(rig.engine);
  int refused = 0;
  Session* pointer = &session;
  const auto try_all = [&] {
    for (const std::function<void()>& call : std::vector<std::function<void()>>{
             [&] { feed_one(rig, session, {1}); }, [&] { session.fork(); },
             [&] { session.truncate(0); }, [&] { session.close(); }}) {
      try {
        call();
      } catch (const ValueError&) {
        ++refused;
      }
    }
  };
  feed(*rig.engine, {&pointer, 1}, {some_tokens(9, 1)}, FeedWant::none, {}, try_all);
  EXPECT_GE(refused, 4);
  EXPECT_EQ(session.size(), 9);
  feed_one(rig, session, {1});
}

TEST(EngineSession, CancellingRestoresTheTokensOfAll) {
  const Tokens tokens = some_tokens(6, 1);
  for (int place = 0; place < 8; ++place) {
    Rig rig;
    rig.engine->chunk_budget().fix(4);
    Session first(rig.engine);
    Session second(rig.engine);
    feed_one(rig, first, tokens);
    feed_one(rig, second, tokens);
    Session* both[] = {&first, &second};
    int calls = 0;
    // The first is done long before the second.
    EXPECT_THROW(feed(*rig.engine, both, {{1}, some_tokens(40, 2)}, FeedWant::last_logits, {},
                      [&] {
                        if (calls++ == place) throw Cancelled();
                      }),
                 Cancelled);
    EXPECT_EQ(first.tokens(), tokens);
    EXPECT_EQ(second.tokens(), tokens);
    rig.check_integrity();
    Tokens longer = tokens;
    longer.push_back(4);
    EXPECT_EQ(feed_one(rig, first, {4}, FeedWant::last_logits).values, last_row(logits_of(longer)));
    EXPECT_EQ(feed_one(rig, second, {4}, FeedWant::last_logits).values,
              last_row(logits_of(longer)));
  }
}

TEST(EngineSession, AFailingForwardRestoresTheTokens) {
  const Tokens tokens = some_tokens(6, 1);
  Rig rig;
  Session session(rig.engine);
  feed_one(rig, session, tokens);
  rig.model->forwards_until_failure = 0;
  EXPECT_THROW(feed_one(rig, session, {1, 2}), std::runtime_error);
  EXPECT_EQ(session.tokens(), tokens);
  EXPECT_EQ(feed_one(rig, session, {1, 2}).values.size(), 2u * FakeModel::kVocab);
}

TEST(EngineSession, JobsStartFromItsCache) {
  Rig rig;
  Session session(rig.engine);
  const Tokens tokens = some_tokens(14, 1);
  feed_one(rig, session, tokens, FeedWant::none);
  RequestSpec spec = make_spec(tokens, 6, true, 5);
  spec.num_sequences = 3;
  const auto wanted = run_alone({spec});
  for (const bool is_longer : {false, true}) {
    for (const bool preempts : {false, true}) {
      RequestSpec request = spec;
      if (is_longer) request.tokens.insert(request.tokens.end(), {4, 5, 6, 7, 8, 9});
      const auto expected = is_longer ? run_alone({request}) : wanted;
      request.session = &session;
      if (preempts) rig.preempt_all();
      rig.model->num_rows = 0;
      EXPECT_EQ(run(rig, {request}), expected);
      if (!preempts) {
        EXPECT_EQ(rig.model->num_rows, (is_longer ? 5 : 0) + 3 * 6);
      }
      EXPECT_EQ(session.tokens(), tokens);
      if (preempts) feed_one(rig, *session.fork(), {1}, FeedWant::none);
      session.truncate(0);
      feed_one(rig, session, tokens, FeedWant::none);
    }
  }
}

TEST(EngineSession, JobsRefuseASessionThatDoesNotFit) {
  Rig rig;
  Rig other;
  Session session(rig.engine);
  feed_one(rig, session, {1, 2, 3});
  RequestSpec spec = make_spec({1, 2, 4}, 3);
  spec.session = &session;
  Job job(rig.engine);
  EXPECT_THROW(job.add(spec), ValueError);
  spec.tokens = {1, 2};
  EXPECT_THROW(job.add(spec), ValueError);
  spec.tokens = {1, 2, 3};
  Job foreign(other.engine);
  EXPECT_THROW(foreign.add(spec), ValueError);
  session.close();
  EXPECT_THROW(job.add(spec), ValueError);
  EXPECT_TRUE(job.done());
  spec.session = nullptr;
  EXPECT_EQ(job.add(spec), 0);
}

TEST(EngineSession, DynamicRopeIsSharedOnlyBetweenEqualLengths) {
  Rig rig;
  rig.model->config().rope_full = {
      .inverse_frequencies = {1.0f}, .dynamic = true, .original_length = 10};
  Session short_session(rig.engine, 10);
  const Tokens tokens = some_tokens(6, 1);
  feed_one(rig, short_session, tokens, FeedWant::none);
  const auto rows_of = [&](std::int64_t max_new_tokens) {
    RequestSpec spec = make_spec(tokens, max_new_tokens);
    spec.session = &short_session;
    rig.model->num_rows = 0;
    run(rig, {spec});
    return rig.model->num_rows;
  };
  EXPECT_EQ(rows_of(4), 4);
  EXPECT_EQ(rows_of(5), 5 + 5);
}

TEST(EngineSession, ScoresAreLogProbabilities) {
  const Tokens tokens = some_tokens(70, 1);
  const std::vector<float> rows = logits_of(tokens);
  for (const std::int64_t num_pages : {20, 1000}) {
    Rig rig(num_pages);
    const auto scores =
        score(*rig.engine, {tokens, some_tokens(9, 2), tokens, {3}}, {1, 9, 50, 1}, no_poll);
    ASSERT_EQ(scores[0].size(), 69u);
    EXPECT_TRUE(scores[1].empty());
    ASSERT_EQ(scores[2].size(), 20u);
    EXPECT_TRUE(scores[3].empty());
    for (std::size_t i = 0; i < 69; ++i) {
      const auto row = rows.begin() + static_cast<std::ptrdiff_t>(i) * FakeModel::kVocab;
      double sum = 0.0;
      for (std::ptrdiff_t v = 0; v < FakeModel::kVocab; ++v)
        sum += std::exp(static_cast<double>(row[v]));
      const auto target = static_cast<std::ptrdiff_t>(tokens[i + 1]);
      EXPECT_NEAR(scores[0][i].logprob, row[target] - std::log(sum), 1e-5);
      EXPECT_EQ(scores[0][i].is_argmax,
                std::max_element(row, row + FakeModel::kVocab) == row + target);
      if (i >= 49) {
        EXPECT_EQ(scores[0][i].logprob, scores[2][i - 49].logprob);
      }
    }
    rig.expect_empty();
  }
  Rig rig(4);
  EXPECT_THROW(score(*rig.engine, {{1, 2}}, {0}, no_poll), ValueError);
  EXPECT_THROW(score(*rig.engine, {{1, 2}}, {3}, no_poll), ValueError);
  EXPECT_THROW(score(*rig.engine, {{1, 2}}, {}, no_poll), ValueError);
  EXPECT_THROW(score(*rig.engine, {{1, 99}}, {1}, no_poll), ValueError);
  EXPECT_THROW(score(*rig.engine, {some_tokens(17, 1)}, {1}, no_poll), CacheFullError);
  EXPECT_THROW(score(*rig.engine, {{1, 2, 3}}, {1}, [] { throw Cancelled(); }), Cancelled);
  rig.expect_empty();
}

}  // namespace
}  // namespace foresight::engine_test
