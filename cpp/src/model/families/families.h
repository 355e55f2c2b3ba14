// Model families: each has one file here that says which blocks it is built of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/cpu_context.h"
#include "model/port.h"
#include "model/weights.h"

namespace foresight {

using FamilyMaker = std::unique_ptr<ModelPort>(const CpuContext& context, const ModelConfig& config,
                                               const Weights& weights, DType storage);

FamilyMaker make_llama;
FamilyMaker make_mistral;
FamilyMaker make_qwen2;
FamilyMaker make_qwen3;
FamilyMaker make_gemma3;
FamilyMaker make_llada2;
FamilyMaker make_qwen3_moe;

// By config.family. Throws NotImplementedError naming the known families.
std::unique_ptr<ModelPort> make_model(const CpuContext& context, const ModelConfig& config,
                                      const Weights& weights, DType storage);
std::vector<std::string> family_names();

}  // namespace foresight
