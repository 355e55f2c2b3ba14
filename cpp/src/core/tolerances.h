// Every numeric tolerance of the tests and of the parity harness, in one place.
#pragma once

namespace foresight::tolerances {

// Errors of ops against a float64 reference, divided by the scale of the sum that was computed (the
// sum of the absolute values of its terms): what float32 chains of a few thousand terms lose.
inline constexpr double kMatmul = 1e-5;
inline constexpr double kRmsNorm = 2e-6;
inline constexpr double kRope = 3e-7;
inline constexpr double kGatedMlp = 2e-6;
inline constexpr double kAttention = 2e-5;
inline constexpr double kExpSum = 1e-6;
// Conversions, gathers, argmax.
inline constexpr double kExact = 0.0;
// exp of the kernels, in units in the last place.
inline constexpr double kExpUlps = 2.0;

}  // namespace foresight::tolerances
