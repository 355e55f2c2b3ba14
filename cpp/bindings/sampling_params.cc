#include "bindings/sampling_params.h"

#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace foresight {
namespace {

namespace py = pybind11;

[[noreturn]] void throw_type(std::string_view field, py::handle value, std::string_view expected) {
  throw py::type_error(concat(field, " is ", std::string(py::repr(value)), " (",
                              Py_TYPE(value.ptr())->tp_name, "), but must be ", expected));
}

bool is_bool(py::handle value) { return PyBool_Check(value.ptr()) != 0; }

bool to_bool(std::string_view field, py::handle value) {
  if (!is_bool(value)) throw_type(field, value, "True or False");
  return value.ptr() == Py_True;
}

// Anything that is an integer to Python, numpy's included; a bool is not.
std::int32_t to_int(std::string_view field, py::handle value, std::string_view expected) {
  if (is_bool(value) || PyIndex_Check(value.ptr()) == 0) throw_type(field, value, expected);
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!number) throw py::error_already_set();
  int overflow = 0;
  const long long wide = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  using Limits = std::numeric_limits<std::int32_t>;
  if (overflow != 0 || wide < Limits::min() || wide > Limits::max()) {
    throw ValueError(
        concat(field, " holds ", std::string(py::str(number)), ", which is no 32-bit integer"));
  }
  return static_cast<std::int32_t>(wide);
}

std::int32_t to_integer(std::string_view field, py::handle value) {
  return to_int(field, value, "an integer");
}

double to_double(std::string_view field, py::handle value) {
  const PyNumberMethods* methods = Py_TYPE(value.ptr())->tp_as_number;
  const bool is_number =
      PyIndex_Check(value.ptr()) != 0 || (methods != nullptr && methods->nb_float != nullptr);
  if (is_bool(value) || !is_number) throw_type(field, value, "a number");
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Float(value.ptr()));
  if (!number) throw py::error_already_set();
  return PyFloat_AS_DOUBLE(number.ptr());
}

// The items of a list, a tuple or an array; `expected` describes the whole value.
std::vector<py::object> to_items(std::string_view field, py::handle value,
                                 std::string_view expected) {
  const bool is_text = PyUnicode_Check(value.ptr()) != 0 || PyBytes_Check(value.ptr()) != 0;
  if (is_text || PyDict_Check(value.ptr()) != 0 || PySequence_Check(value.ptr()) == 0) {
    throw_type(field, value, expected);
  }
  std::vector<py::object> items;
  for (const py::handle item : value) items.push_back(py::reinterpret_borrow<py::object>(item));
  return items;
}

std::vector<Token> to_tokens(std::string_view field, py::handle value) {
  constexpr std::string_view kExpected = "a list of token ids";
  std::vector<Token> tokens;
  for (const py::object& item : to_items(field, value, kExpected)) {
    tokens.push_back(to_int(field, item, kExpected));
  }
  return tokens;
}

std::vector<Token> to_token_or_tokens(std::string_view field, py::handle value) {
  if (PyIndex_Check(value.ptr()) != 0 && PySequence_Check(value.ptr()) == 0) {
    return {to_int(field, value, "a token id or a list of them")};
  }
  return to_tokens(field, value);
}

template <typename Items>
void check_not_empty(std::string_view field, const Items& items) {
  if (items.empty()) {
    throw ValueError(concat(field, " is empty, but must hold something; leave it out, or None"));
  }
}

std::vector<Token> to_some_tokens(std::string_view field, py::handle value) {
  std::vector<Token> tokens = to_token_or_tokens(field, value);
  check_not_empty(field, tokens);
  return tokens;
}

std::vector<std::vector<Token>> to_sequences(std::string_view field, py::handle value) {
  std::vector<std::vector<Token>> sequences;
  for (const py::object& item : to_items(field, value, "a list of lists of token ids")) {
    sequences.push_back(to_tokens(field, item));
  }
  check_not_empty(field, sequences);
  return sequences;
}

// {(5, 6): -1.0} or [[[5, 6], -1.0]].
decltype(SamplingParams::sequence_bias) to_biases(std::string_view field, py::handle value) {
  constexpr std::string_view kExpected =
      "a dict from tuples of token ids to numbers, or a list of [token ids, number]";
  decltype(SamplingParams::sequence_bias) biases;
  const auto add = [&](py::handle sequence, py::handle bias) {
    biases.emplace_back(to_tokens(field, sequence), static_cast<float>(to_double(field, bias)));
  };
  if (PyDict_Check(value.ptr()) != 0) {
    for (const auto& [sequence, bias] : py::reinterpret_borrow<py::dict>(value)) {
      add(sequence, bias);
    }
  } else {
    for (const py::object& item : to_items(field, value, kExpected)) {
      const auto pair = to_items(field, item, kExpected);
      if (pair.size() != 2) throw_type(field, value, kExpected);
      add(pair[0], pair[1]);
    }
  }
  check_not_empty(field, biases);
  return biases;
}

std::pair<std::int32_t, double> to_decay(std::string_view field, py::handle value) {
  constexpr std::string_view kExpected = "a pair (start, factor)";
  const auto pair = to_items(field, value, kExpected);
  if (pair.size() != 2) throw_type(field, value, kExpected);
  return {to_int(field, pair[0], kExpected), to_double(field, pair[1])};
}

using Params = SamplingParams;
using Setter = void (*)(Params&, std::string_view field, py::handle value);

template <auto field, auto read>
void set(Params& params, std::string_view name, py::handle value) {
  params.*field = read(name, value);
}

const std::map<std::string_view, Setter>& setters() {
  static const std::map<std::string_view, Setter> table = {
      {"sequence_bias", set<&Params::sequence_bias, to_biases>},
      {"encoder_repetition_penalty", set<&Params::encoder_repetition_penalty, to_double>},
      {"repetition_penalty", set<&Params::repetition_penalty, to_double>},
      {"no_repeat_ngram_size", set<&Params::no_repeat_ngram_size, to_integer>},
      {"encoder_no_repeat_ngram_size", set<&Params::encoder_no_repeat_ngram_size, to_integer>},
      {"bad_words_ids", set<&Params::bad_words_ids, to_sequences>},
      {"min_length", set<&Params::min_length, to_integer>},
      {"min_new_tokens", set<&Params::min_new_tokens, to_integer>},
      {"forced_bos_token_id", set<&Params::forced_bos_token_id, to_integer>},
      {"forced_eos_token_id", set<&Params::forced_eos_token_id, to_some_tokens>},
      {"remove_invalid_values", set<&Params::remove_invalid_values, to_bool>},
      {"exponential_decay_length_penalty",
       set<&Params::exponential_decay_length_penalty, to_decay>},
      {"suppress_tokens", set<&Params::suppress_tokens, to_tokens>},
      {"begin_suppress_tokens", set<&Params::begin_suppress_tokens, to_tokens>},
      {"do_sample", set<&Params::do_sample, to_bool>},
      {"temperature", set<&Params::temperature, to_double>},
      {"top_h", set<&Params::top_h, to_double>},
      {"top_k", set<&Params::top_k, to_integer>},
      {"top_p", set<&Params::top_p, to_double>},
      {"min_p", set<&Params::min_p, to_double>},
      {"typical_p", set<&Params::typical_p, to_double>},
      {"epsilon_cutoff", set<&Params::epsilon_cutoff, to_double>},
      {"eta_cutoff", set<&Params::eta_cutoff, to_double>},
      {"renormalize_logits", set<&Params::renormalize_logits, to_bool>},
      {"eos_token_ids", set<&Params::eos_token_ids, to_token_or_tokens>},
      {"max_length", set<&Params::max_length, to_integer>},
  };
  return table;
}

}  // namespace

SamplingParams sampling_params_from(const py::dict& options) {
  SamplingParams params;
  for (const auto& [key, value] : options) {
    if (PyUnicode_Check(key.ptr()) == 0) throw_type("a sampling option's name", key, "a str");
    const auto name = key.cast<std::string>();
    const auto setter = setters().find(name);
    if (setter == setters().end()) {
      std::string known;
      for (const auto& entry : setters()) known += concat(known.empty() ? "" : ", ", entry.first);
      throw ValueError(concat("'", name, "' is no sampling option; there are ", known));
    }
    if (!value.is_none()) setter->second(params, setter->first, value);
  }
  return params;
}

}  // namespace foresight
