"""Networks, ready to train: `from minicnn import models`.

Each builder, such as `models.lenet5()`, returns a Module that takes images (N, H, W, C) and ends in logits; its
`input_shape` is the (H, W, C) that it is made for. Where one network was published in several forms, the builder takes
a `variant`. Scripts that get a name from the command line use `names`, `input_shape` and `build`, and say the variant
behind a colon: "lenet5:1998".

A new network is a file with its builder, decorated by `_catalogue.builder` and named in the file's `__all__`, and a
line here.
"""

from ._catalogue import *
from .alexnet import *
from .densenet import *
from .digits import *
from .highway import *
from .inception import *
from .lenet import *
from .lenet_early import *
from .lenet_output import *
from .mobilenet import *
from .nin import *
from .plain import *
from .preresnet import *
from .pyramidnet import *
from .resnet import *
from .resnet_cifar import *
from .resnext import *
from .squeezenet import *
from .vgg import *
from .wide_resnet import *
from .xception import *
from .zfnet import *
