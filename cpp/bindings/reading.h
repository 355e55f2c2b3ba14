// Engine.score and Engine.read_masked.
#pragma once

#include <pybind11/numpy.h>

#include <optional>
#include <vector>

#include "engine/engine.h"

namespace foresight {

using TokenArray = pybind11::array_t<Token, pybind11::array::c_style | pybind11::array::forcecast>;

pybind11::list score_sequences(Engine& engine, const std::vector<std::vector<Token>>& sequences,
                               const std::vector<std::int64_t>& starts);
pybind11::list read_canvases(Engine& engine, const std::vector<TokenArray>& canvases,
                             const std::vector<TokenArray>& positions,
                             const std::vector<TokenArray>& tokens,
                             const std::optional<std::vector<TokenArray>>& orders);

}  // namespace foresight
