#include "decode/drafter.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "core/error.h"
#include "decode/drafters/prompt_lookup.h"
#include "decode/drafters/suffix_tree.h"

namespace py = pybind11;

namespace foresight {

namespace {

using Guesses = std::vector<std::vector<std::pair<Token, std::int32_t>>>;
template <typename T>
using Array = py::array_t<T, py::array::c_style>;

void check_count(const char* name, std::int64_t value, std::int64_t least) {
  if (value < least) throw ValueError(concat(name, " is ", value, ", expected at least ", least));
}

Guesses propose(Drafter& drafter, const std::vector<std::vector<Token>>& sequences,
                std::int64_t num_tokens, std::optional<std::int64_t> depth, std::int64_t width,
                bool dynamic, const std::optional<std::vector<std::int64_t>>& prompt_lengths) {
  check_count("num_tokens", num_tokens, 0);
  check_count("depth", depth.value_or(1), 1);
  check_count("width", width, 1);
  if (prompt_lengths && prompt_lengths->size() != sequences.size()) {
    throw ValueError(concat("prompt_lengths has ", prompt_lengths->size(), " entries for ",
                            sequences.size(), " sequences"));
  }
  std::vector<DraftTask> tasks(sequences.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    for (const Token token : sequences[i]) check_count("a token", token, 0);
    tasks[i].branch = i;
    tasks[i].request = i;
    tasks[i].tokens = sequences[i];
    tasks[i].shape = {.num_tokens = num_tokens,
                      .depth = depth.value_or(num_tokens),
                      .width = width,
                      .dynamic = dynamic};
    if (!prompt_lengths) continue;
    tasks[i].prompt_length = (*prompt_lengths)[i];
    if (tasks[i].prompt_length < 0 || tasks[i].prompt_length > std::ssize(sequences[i])) {
      throw ValueError(concat("the prompt of sequence ", i, " has ", tasks[i].prompt_length,
                              " tokens, expected 0 to ", sequences[i].size()));
    }
  }
  {
    const py::gil_scoped_release no_gil;
    drafter.propose(tasks);
  }
  Guesses guesses;
  for (const DraftTask& task : tasks) {
    guesses.emplace_back();
    for (const DraftNode& node : task.nodes) guesses.back().emplace_back(node.token, node.parent);
  }
  return guesses;
}

template <typename T>
std::vector<T> to_vector(const Array<T>& array) {
  return {array.data(), array.data() + array.size()};
}

template <typename T>
py::array_t<T> from_vector(std::vector<T> values) {
  const auto size = static_cast<py::ssize_t>(values.size());
  return to_array(std::move(values), {size});
}

py::tuple held(const SuffixTree& tree) {
  HeldAnswers answers;
  {
    const py::gil_scoped_release no_gil;
    answers = tree.held();
  }
  return py::make_tuple(from_vector(std::move(answers.tokens)),
                        from_vector(std::move(answers.lengths)),
                        from_vector(std::move(answers.prompts)));
}

void add_held(SuffixTree& tree, const Array<Token>& tokens, const Array<std::int64_t>& lengths,
              const Array<std::uint64_t>& prompts) {
  const HeldAnswers answers{
      .tokens = to_vector(tokens), .lengths = to_vector(lengths), .prompts = to_vector(prompts)};
  const py::gil_scoped_release no_gil;
  tree.add_held(answers);
}

}  // namespace

void bind_drafter(py::module_& m) {
  py::class_<Drafter, std::shared_ptr<Drafter>>(m, "Drafter")
      .def("propose", &propose, py::arg("sequences"), py::arg("num_tokens"),
           py::arg("depth") = py::none(), py::arg("width") = 1, py::arg("dynamic") = false,
           py::arg("prompt_lengths") = py::none());

  py::class_<PromptLookup, Drafter, std::shared_ptr<PromptLookup>>(m, "PromptLookup",
                                                                   py::is_final())
      .def(py::init<std::int64_t, std::int64_t>(), py::arg("max_ngram") = 3,
           py::arg("min_ngram") = 1);

  const SuffixTreeOptions defaults;
  py::class_<SuffixTree, Drafter, std::shared_ptr<SuffixTree>>(m, "SuffixTree", py::is_final())
      .def(py::init([](std::int64_t max_depth, double min_probability, double max_factor,
                       std::int64_t max_tokens) {
             return std::make_shared<SuffixTree>(
                 SuffixTreeOptions{.max_depth = max_depth,
                                   .min_probability = min_probability,
                                   .max_factor = max_factor,
                                   .max_tokens = max_tokens});
           }),
           py::kw_only(), py::arg("max_depth") = defaults.max_depth,
           py::arg("min_probability") = defaults.min_probability,
           py::arg("max_factor") = defaults.max_factor, py::arg("max_tokens") = defaults.max_tokens)
      .def("share", &SuffixTree::share)
      .def(
          "add",
          [](SuffixTree& tree, const std::vector<Token>& tokens, const std::vector<Token>& prompt) {
            const py::gil_scoped_release no_gil;
            tree.add(tokens, prompt);
          },
          py::arg("tokens"), py::arg("prompt") = py::tuple())
      .def("held", &held)
      .def("add_held", &add_held, py::arg("tokens").noconvert(), py::arg("lengths").noconvert(),
           py::arg("prompts").noconvert())
      .def("__len__", &SuffixTree::num_tokens, py::call_guard<py::gil_scoped_release>());
}

}  // namespace foresight
