#pragma once
#include "lib/ops/ops.h"

// One function per row of kOps; each is defined, with its op's documentation, in the file named like
// its family.
namespace glint {

Op EmbeddingOp();   // embedding.cc
Op GatherOp();      // gather.cc
Op LinearOp();      // linear.cc
Op LayerNormOp();   // norm.cc
Op RmsNormOp();     // norm.cc
Op SplitHeadsOp();  // attention.cc
Op SplitQkvOp();    // attention.cc
Op RopeOp();        // rope.cc
Op AttentionOp();   // attention.cc
Op GeluOp();        // elementwise.cc
Op SiluOp();        // elementwise.cc
Op AddOp();         // elementwise.cc
Op MulOp();         // elementwise.cc
Op ScaleOp();       // elementwise.cc
Op SoftcapOp();     // elementwise.cc
Op HiddenOp();      // hidden.cc
Op RouteOp();        // route.cc
Op CombineOp();      // route.cc
Op GateOp();         // route.cc
Op RoutedLinearOp();  // routed_linear.cc

}  // namespace glint
