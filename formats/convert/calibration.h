#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/convert/staged_model.h"

// What a text tells about a model's activations, and what a conversion does with it. Everything here
// runs on our own kernels and in fixed orders: the same on every machine, with any number of threads.
namespace glint {

// Cuts a text into windows of ids, each as the model reads one: GLM's windows are half context, half
// reply, others begin with the bos id if there is one. About `tokens` ids in all, spread evenly over
// the text; `window` of them at a time (0: 512, or what the model can). `where` names the text in
// messages. Throws Error if the model has no tokenizer or the text is too short for one window.
TokenWindows WindowsOfText(const SourceModel& source, std::string_view text, size_t tokens,
                           size_t window, const std::string& where);

// The same from a file.
TokenWindows ReadWindows(const SourceModel& source, const std::string& path, size_t tokens);

// By name of each matrix that a linear op multiplies by: the mean square of each column of its input,
// (cols). Of an expert's, over the rows that reach it, joined by some of its layer.
using Moments = std::map<std::string, std::vector<float>>;

// Runs the whole model over the first windows. Throws Error if an activation is not finite, naming where.
Moments MeasureMoments(StagedModel& model, size_t n_windows,
                       const std::function<void(double)>& progress);

// How much the outputs of a matrix move when it is stored as `type`: the sum over rows and columns of
// (stored - true)^2 * importance, on a sample of rows (evenly spread tiles of 16; the same for every
// type). Its columns are multiplied by `scales` before, if not null. Infinite if the type cannot
// store it.
double SampleError(const SourceWeight& weight, DType type, const std::vector<float>& importance,
                   const float* scales = nullptr);

// Activation-aware scaling (Lin et al. 2023, "AWQ", section 3.2): where the output of a norm goes into
// linears alone, its columns are divided by s and the linears' columns multiplied by it, which changes
// nothing but what quantizing loses. s = (mean square)^(alpha / 2), alpha from a small grid by the
// least error of the outputs, with the types that `type_of` names, on a sample of rows. The moments
// become those of the scaled inputs. Returns how many norms were scaled.
using TypeOf = std::function<DType(const SourceWeight& weight)>;
size_t FoldScales(SourceModel* source, const TypeOf& type_of, Moments* moments, ThreadPool& pool);

}  // namespace glint
