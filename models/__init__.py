"""Dynamic networks, one published system a file, each a plain nn.Module with `build()` and `example_inputs()`."""

ZOO = {
    "fashion-exits": "dync.models.fashion_exits:build",
    "skipnet-feedforward": "dync.models.skipnet:build_feedforward",
    "skipnet-recurrent": "dync.models.skipnet:build_recurrent",
    "blockdrop": "dync.models.blockdrop:build",
    "shallow-deep-vgg": "dync.models.shallow_deep:build_vgg",
    "shallow-deep-resnet": "dync.models.shallow_deep:build_resnet",
    "shallow-deep-wide-resnet": "dync.models.shallow_deep:build_wide_resnet",
    "shallow-deep-mobilenet": "dync.models.shallow_deep:build_mobilenet",
    "captioning-resnext": "dync.models.captioning:build_resnext",
    "captioning-googlenet": "dync.models.captioning:build_googlenet",
    "jei-dnn": "dync.models.jei_dnn:build",
    "rbqe": "dync.models.rbqe:build",
    "window-cascade": "dync.models.window_cascade:build",
    "pabee": "dync.models.pabee:build",
    "palbert": "dync.models.palbert:build",
    "emoe": "dync.models.emoe:build",
    "duo-llm": "dync.models.duo_llm:build",
    "kangaroo": "dync.models.kangaroo:build",
    "mowst": "dync.models.mowst:build",
    "semba": "dync.models.semba:build",
    "liquid": "dync.models.liquid:build",
    "ofa": "dync.models.ofa:build",
}
"""Every model by name, as "module:function"; the module also has `example_inputs` and `varied_inputs`."""
