#include "model/families/families.h"

#include "core/error.h"

namespace foresight {

namespace {

struct Family {
  const char* name;
  FamilyMaker* make;
};

// The one registration line of a family.
constexpr Family kFamilies[] = {
    {"gemma3", make_gemma3},       {"llada2", make_llada2}, {"llama", make_llama},
    {"mistral", make_mistral},     {"qwen2", make_qwen2},   {"qwen3", make_qwen3},
    {"qwen3_moe", make_qwen3_moe},
};

}  // namespace

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.name);
  return names;
}

std::unique_ptr<ModelPort> make_model(const CpuContext& context, const ModelConfig& config,
                                      const Weights& weights, DType storage) {
  std::string known;
  for (const Family& family : kFamilies) {
    if (config.family == family.name) return family.make(context, config, weights, storage);
    known += concat(known.empty() ? "" : ", ", family.name);
  }
  throw NotImplementedError(
      concat("model family '", config.family, "' is not known; known are ", known));
}

}  // namespace foresight
