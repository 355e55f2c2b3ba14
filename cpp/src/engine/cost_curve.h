// What forwards of different sizes take on this machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"

namespace foresight {

// Seconds of a forward of rows[i] rows of one sequence, all of them asking, behind nothing: the
// least of `repeats` (the first ones of all are not counted). Waits for the engine's lock before
// each. Throws CacheFullError when the rows do not fit into the cache.
std::vector<double> measure_forwards(Engine& engine, std::span<const std::int64_t> rows,
                                     int repeats);

}  // namespace foresight
