#include "bindings/reading.h"

#include "bindings/bindings.h"
#include "core/error.h"
#include "engine/reading.h"

namespace py = pybind11;

namespace foresight {

namespace {

std::vector<Token> list_of(const TokenArray& array) {
  if (array.ndim() != 1) throw ValueError("the arrays of a canvas have one dimension");
  return {array.data(), array.data() + array.size()};
}

// Per sequence: float32 log-probabilities, whether each is the argmax, and the argmax's float32
// probabilities where they are wanted.
py::list to_python(const ScoredTokens& scores, bool wants_max_probs) {
  py::list out;
  for (const std::vector<ScoredToken>& sequence : scores) {
    const auto size = static_cast<py::ssize_t>(sequence.size());
    py::array_t<float> logprobs(size);
    py::array_t<bool> is_argmax(size);
    py::array_t<float> max_probs(size);
    for (py::ssize_t i = 0; i < size; ++i) {
      const ScoredToken& token = sequence[static_cast<std::size_t>(i)];
      logprobs.mutable_at(i) = token.logprob;
      is_argmax.mutable_at(i) = token.is_argmax;
      max_probs.mutable_at(i) = token.max_prob;
    }
    if (wants_max_probs) {
      out.append(py::make_tuple(logprobs, is_argmax, max_probs));
    } else {
      out.append(py::make_tuple(logprobs, is_argmax));
    }
  }
  return out;
}

}  // namespace

py::list score_sequences(Engine& engine, const std::vector<std::vector<Token>>& sequences,
                         const std::vector<std::int64_t>& starts) {
  ScoredTokens scores;
  {
    const py::gil_scoped_release no_gil;
    scores = score(engine, sequences, starts, [] { poll_signals(); });
  }
  return to_python(scores, false);
}

py::list read_canvases(Engine& engine, const std::vector<TokenArray>& canvases,
                       const std::vector<TokenArray>& positions,
                       const std::vector<TokenArray>& tokens,
                       const std::optional<std::vector<TokenArray>>& orders) {
  const std::size_t count = canvases.size();
  if (positions.size() != count || tokens.size() != count ||
      (orders.has_value() && orders->size() != count)) {
    throw ValueError(concat("the lists of positions, tokens and orders must be as long as that of ",
                            count, " canvases"));
  }
  std::vector<MaskedRead> reads;
  for (std::size_t i = 0; i < count; ++i) {
    reads.push_back({.canvas = list_of(canvases[i]),
                     .positions = list_of(positions[i]),
                     .targets = list_of(tokens[i]),
                     .order = orders ? list_of((*orders)[i]) : std::vector<std::int32_t>{}});
  }
  ScoredTokens answers;
  {
    const py::gil_scoped_release no_gil;
    answers = read_masked(engine, std::move(reads), [] { poll_signals(); });
  }
  return to_python(answers, true);
}

}  // namespace foresight
