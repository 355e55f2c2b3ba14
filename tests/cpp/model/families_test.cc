#include "model/families/families.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "cpp/model/random_model.h"
#include "model/cpu_runtime.h"

namespace foresight {
namespace {

using model_test::RandomWeights;
using model_test::tiny_config;
using model_test::tiny_experts_config;

class Families : public testing::Test {
 protected:
  std::unique_ptr<ModelPort> make(const ModelConfig& config, const Weights& weights) {
    return make_model(runtime_.context(), config, weights, DType::f32);
  }
  CpuRuntime runtime_{1};
};

TEST_F(Families, AreSortedAndEachCanBeMade) {
  const std::vector<std::string> names = family_names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const std::string& name : names) {
    const ModelConfig config = tiny_config(name);
    const RandomWeights random(config);
    const auto model = make(config, random.weights());
    EXPECT_EQ(model->config().family, name);
    EXPECT_GT(model->packed_bytes(), 0u);
    // K and V, 2 layers, 2 heads of 16 floats, each slot.
    EXPECT_EQ(model->page_bytes(),
              2u * 2 * 2 * 16 * 4 * static_cast<std::size_t>(model->page_slots()));
  }
}

TEST_F(Families, UnknownOnesAreNamed) {
  const ModelConfig config = tiny_config("gpt17");
  try {
    make(config, Weights());
    FAIL() << "no error";
  } catch (const NotImplementedError& error) {
    EXPECT_NE(std::string(error.what()).find("gpt17"), std::string::npos);
    for (const std::string& name : family_names()) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos);
    }
  }
}

TEST_F(Families, BadConfigsAreRefused) {
  const std::vector<std::pair<const char*, std::function<void(ModelConfig&)>>> breaks = {
      {"vocab_size", [](ModelConfig& c) { c.vocab_size = 0; }},
      {"num_layers", [](ModelConfig& c) { c.num_layers = -1; }},
      {"num_kv_heads", [](ModelConfig& c) { c.num_kv_heads = 3; }},
      {"head_dim", [](ModelConfig& c) { c.head_dim = 15; }},
      {"activation", [](ModelConfig& c) { c.activation = "relu"; }},
      {"layer", [](ModelConfig& c) { c.layer_is_sliding = {true}; }},
      {"sliding_window",
       [](ModelConfig& c) {
         c.layer_is_sliding = {true, false};
       }},
      {"frequencies", [](ModelConfig& c) { c.rope_full.inverse_frequencies.pop_back(); }},
      {"original", [](ModelConfig& c) { c.rope_full.dynamic = true; }},
  };
  for (const auto& [field, change] : breaks) {
    ModelConfig config = tiny_config("llama");
    const RandomWeights random(config);
    change(config);
    try {
      make(config, random.weights());
      ADD_FAILURE() << field;
    } catch (const ValueError& error) {
      EXPECT_NE(std::string(error.what()).find(field), std::string::npos) << error.what();
    }
  }
}

TEST_F(Families, BadExpertsAreRefused) {
  const std::vector<std::pair<const char*, std::function<void(ModelConfig&)>>> breaks = {
      {"rotary_dim", [](ModelConfig& c) { c.rotary_dim = 7; }},
      {"rotary_dim", [](ModelConfig& c) { c.rotary_dim = 18; }},
      {"frequencies", [](ModelConfig& c) { c.rotary_dim = 4; }},
      {"num_experts", [](ModelConfig& c) { c.experts.num_experts = -1; }},
      {"num_groups", [](ModelConfig& c) { c.experts.num_groups = 3; }},
      {"num_groups", [](ModelConfig& c) { c.experts.num_groups = 8; }},
      {"top_groups", [](ModelConfig& c) { c.experts.top_groups = 5; }},
      {"experts_per_token", [](ModelConfig& c) { c.experts.experts_per_token = 5; }},
      {"intermediate_size", [](ModelConfig& c) { c.experts.intermediate_size = 0; }},
      {"layers", [](ModelConfig& c) { c.experts.layers.pop_back(); }},
  };
  for (const auto& [field, change] : breaks) {
    ModelConfig config = tiny_experts_config();
    const RandomWeights random(config);
    change(config);
    try {
      make(config, random.weights());
      ADD_FAILURE() << field;
    } catch (const ValueError& error) {
      EXPECT_NE(std::string(error.what()).find(field), std::string::npos) << error.what();
    }
  }
}

TEST_F(Families, MissingWeightsAreNamed) {
  const ModelConfig config = tiny_config("llama");
  try {
    make(config, Weights());
    FAIL() << "no error";
  } catch (const ValueError& error) {
    EXPECT_NE(std::string(error.what()).find("'embed'"), std::string::npos);
  }
}

}  // namespace
}  // namespace foresight
