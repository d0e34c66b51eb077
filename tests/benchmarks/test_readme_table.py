"""The README says what the kept results say."""

import json

import pytest
from scripts import FOLDER


@pytest.fixture
def readme_table():
    import readme_table

    return readme_table


MACHINE = {"processor": "P", "threads": 2, "precision": "float32", "python": "3.11", "numpy": "2", "numba": "0.61",
           "torch": "2.13"}  # fmt: skip
NETWORK = {
    "model": "lenet5", "batch size": 128, "image": [28, 28, 1], "torch": "torch nhwc",
    "contenders": {"minicnn cpu": {"seconds": 0.001234, "peak bytes": 31_400_000},
                   "torch nchw": {"seconds": 0.009, "peak bytes": 1},
                   "torch nhwc": {"seconds": 0.002, "peak bytes": None}},
    "ratios": {"minicnn cpu/torch": 0.617},
}  # fmt: skip


def kept(folder, name, **content):
    settings = {"quick": content.pop("quick", False), "model": "lenet5", "batch size": 64}
    described = content.pop("machine", MACHINE)
    (folder / f"{name}.json").write_text(json.dumps({"machine": described, "settings": settings, **content}))


def test_pages_and_results_agree(readme_table):
    guide = "docs/guide/16_many_machines.md"
    assert set(readme_table.PAGES) == {"README.md", "docs/accuracy.md", "docs/data.md", "docs/experiments.md", guide}
    for page, written in readme_table.PAGES.items():
        text = (FOLDER.parent / page).read_text()
        assert readme_table.rewritten(text, written(FOLDER / "results")) == text


def test_what_networks_learnt_becomes_rows(readme_table, tmp_path):
    learnt = {"network": "nin", "side": 32, "parameters": 966_986, "by_heart": None, "epochs": 3, "accuracy": 0.4321}
    content = {"machine": MACHINE, "settings": {"images": 4000, "test images": 1000}, "networks": [learnt]}
    (tmp_path / "bench_learning_a.json").write_text(json.dumps(content))
    text = readme_table.learning(tmp_path)
    assert "P, 2 threads, float32; Python 3.11, NumPy 2, Numba 0.61:" in text
    assert "| epochs over 4,000 | of 1,000 right |" in text
    assert "| nin | 32 x 32 | 966,986 | never | 3 | 43.2 % |" in text


def test_what_scripts_reached_becomes_rows(readme_table, tmp_path):
    seeds = [{"seed": n, "epochs": 12, "accuracy": accuracy, "seconds": seconds}
             for n, (accuracy, seconds) in enumerate([(0.99, 70.0), (0.995, 60.0), (0.9921, 100.0)])]  # fmt: skip
    run = {"name": "a", "what": "LeNet-5, MNIST", "published": "99.05 %", "command": "train.py --fast", "seeds": seeds}
    (tmp_path / "bench_accuracy_a.json").write_text(json.dumps({"machine": MACHINE, "runs": [run]}))
    text = readme_table.accuracies(tmp_path)
    assert "P, 2 threads, float32; Python 3.11, NumPy 2, Numba 0.61:" in text
    assert "| LeNet-5, MNIST | 99.05 % | 99.21 % | 99.00, 99.50, 99.21 | 12 | 70.0 s |" in text
    assert "| LeNet-5, MNIST | `python examples/train.py --fast` |" in text


def test_networks_become_rows(readme_table, tmp_path):
    kept(tmp_path, "bench_train_a", networks=[NETWORK])
    text = readme_table.tables(tmp_path)
    assert "P, 2 threads, float32; Python 3.11, NumPy 2, Numba 0.61, PyTorch 2.13:" in text
    assert "| lenet5 | 128 x 28 x 28 x 1 | 1.23 ms | 2.00 ms | 0.617 | 31 | - |" in text


def test_an_optimised_network_has_a_row_of_its_own(readme_table, tmp_path):
    optimised = {"minicnn optimised": {"seconds": 0.001, "peak bytes": 2_000_000}}
    both = {**NETWORK, "contenders": {**NETWORK["contenders"], **optimised}}
    both["ratios"] = {**NETWORK["ratios"], "minicnn optimised/torch": 0.5}
    kept(tmp_path, "bench_inference_a", networks=[both])
    text = readme_table.tables(tmp_path)
    assert "| lenet5 | 128 x 28 x 28 x 1 | 1.23 ms | 2.00 ms | 0.617 | 31 | - |" in text
    assert "| lenet5, optimised | 128 x 28 x 28 x 1 | 1.00 ms | 2.00 ms | 0.500 | 2 | - |" in text


def test_without_torch_the_columns_stay_empty(readme_table, tmp_path):
    alone = {**NETWORK, "torch": None, "ratios": {}}
    kept(tmp_path, "bench_inference_a", networks=[alone])
    assert "| lenet5 | 128 x 28 x 28 x 1 | 1.23 ms | - | - | 31 | - |" in readme_table.tables(tmp_path)


def test_convolutions_become_means_by_network_and_direction(readme_table, tmp_path):
    means = [{"rows": "conv2d_forward vgg16", "cpu/torch": 0.5, "of peak": 0.712},
             {"rows": "conv2d_backward_input vgg16", "cpu/torch": 1.5}]  # fmt: skip
    rows = [{"networks": ["vgg16"], "ratios": {"cpu/torch": 1}, "holds": True},
            {"networks": [], "ratios": {"cpu/reference": 1}, "holds": True},
            {"networks": [], "ratios": {"cpu/reference": 2}, "holds": False}]  # fmt: skip
    kept(tmp_path, "bench_kernels_a", means=means, rows=rows)
    text = readme_table.tables(tmp_path)
    assert "| vgg16 | 0.500 | 1.500 | - | 71 % |" in text
    assert "Of 2 rows of kernels and shapes 1 hold" in text


def test_other_kernels_have_a_row_each(readme_table, tmp_path):
    names = ["linear_forward", "linear_backward_input", "linear_backward_weight", "tanh_forward", "bias_backward"]
    means = [{"rows": name, "cpu/torch": i + 1} for i, name in enumerate([*names, "sgd_update"])]
    means.append({"rows": "dropout_forward", "cpu/reference": 0.5})  # PyTorch has other random numbers
    kept(tmp_path, "bench_kernels_a", means=means, rows=[])
    text = readme_table.tables(tmp_path)
    for line in ("linear | 1.000 | 2.000 | 3.000", "tanh | 4.000 | - | -", "bias | - | 5.000 | -",
                 "sgd_update | 6.000 | - | -"):  # fmt: skip
        assert f"| {line} |" in text
    assert "dropout" not in text


def test_short_calls_are_one_mean_over_all_their_rows(readme_table, tmp_path):
    means = [{"rows": "relu_forward short", "count": 1, "cpu/torch": 4.0},
             {"rows": "tanh_forward short", "count": 2, "cpu/torch": 0.5}]  # fmt: skip
    kept(tmp_path, "bench_kernels_a", means=means, rows=[])
    text = readme_table.tables(tmp_path)
    assert "3 rows that PyTorch does in less than 10 microseconds" in text
    assert "the ratio is 1.000." in text
    assert "relu" not in text


def test_growing_steps_have_a_row_each_and_two_columns_for_a_number_of_threads(readme_table, tmp_path):
    points = [{"batch size": 2, "image": [8, 8, 3], "threads": threads, "torch": "torch nchw",
               "contenders": {"minicnn cpu": {"seconds": seconds, "peak bytes": 3_000_000},
                              "torch nchw": {"seconds": 0.004, "peak bytes": 4_000_000}}}
              for threads, seconds in ((1, 0.003), (2, 0.002))]  # fmt: skip
    kept(tmp_path, "bench_scaling_a", points=points)
    text = readme_table.tables(tmp_path)
    assert "| lenet5, a training step | 1 thread | time ratio | 2 threads | time ratio | minicnn, MB |" in text
    assert "| 2 x 8 x 8 x 3 | 3.00 ms | 0.750 | 2.00 ms | 0.500 | 3 | 4 |" in text


GPU = {**MACHINE, "gpu": "G", "gpu memory": "141 GB", "precision": "float32 and tf32", "cupy": "14", "cudnn": 91002,
       "torch tf32": "a and b on for tf32 alone"}  # fmt: skip
STEPS = {"minicnn eager": 4e-3, "minicnn graph": 2e-3, "torch eager-nchw": 5e-3, "torch eager-nhwc": 6e-3,
         "torch graph-nchw": 3e-3, "torch graph-nhwc tuned": 1e-3}  # fmt: skip
LIMITS = {"copy GB/s": 1234.5, "multiply_adds TFLOP/s": 5.67, "tensor_cores TFLOP/s": 30.0,
          "cublas_tf32 TFLOP/s": 40.4}  # fmt: skip


def trained_on_gpu(precision="tf32", times=STEPS):
    contenders = {name: {"seconds": seconds, "peak bytes": None} for name, seconds in times.items()}
    ratios = {f"minicnn graph/{name}": times["minicnn graph"] / seconds for name, seconds in times.items()}
    torch = next((name for name in times if name.startswith("torch")), None)
    return {**NETWORK, "contenders": contenders, "ratios": ratios, "precision": precision, "torch": torch}


def test_a_gpu_has_training_steps_and_its_throughput_over_each_way_of_pytorch(readme_table, tmp_path):
    failed = {"vgg16, batch 4, tf32": "no room"}
    kept(tmp_path, "bench_train_g", machine=GPU, networks=[trained_on_gpu()], failed=failed)
    text = readme_table.tables(tmp_path)
    flags = "; of PyTorch's flags a and b on for tf32 alone:"
    assert f"G, 141 GB; Python 3.11, CuPy 14, PyTorch 2.13, cuDNN 91002{flags}" in text
    assert "| lenet5 | 128 x 28 x 28 x 1 | TF32 | 4.00 ms | 2.00 ms | 5.00 ms | 1.00 ms |" in text
    assert ("| eager NCHW | eager channels_last | eager NCHW, tuned | eager channels_last, tuned | graph NCHW | graph "
            "channels_last | graph NCHW, tuned | graph channels_last, tuned |") in text  # fmt: skip
    assert "| lenet5 | 128 x 28 x 28 x 1 | TF32 | 2.500 | 3.000 | - | - | 1.500 | - | - | 0.500 |" in text
    assert text.endswith("Not measured: `vgg16, batch 4, tf32`.")


def test_a_gpu_has_its_limits_its_products_and_its_other_kernels(readme_table, tmp_path):
    means = [
        {"rows": "conv2d_forward resnet50-b64", "count": 23, "cuda/torch nchw": 0.5, "cuda/torch nhwc tuned": 0.8,
         "cuda tf32/torch nchw tf32": 4.0, "cuda of limit": 0.61, "cuda tf32 of limit": 0.32},
        {"rows": "conv2d_backward_weight resnet50-b64", "count": 23, "cuda/torch nchw": 0.25},
        {"rows": "linear_forward", "count": 3, "cuda/cublas": 1.25, "cuda of limit": 0.4},
        {"rows": "linear_forward short", "count": 5, "cuda/cublas": 9.0},
        {"rows": "relu_forward", "count": 2, "cuda/torch": 0.8, "cpu/cuda": 30.0, "cuda of limit": 0.95},
    ]  # fmt: skip
    bound = [{"family": "activation", "count": 4, "of copy": 0.9, "lowest": 0.71, "which": "relu6_backward 64x112"}]
    kept(tmp_path, "bench_kernels_g", **{"machine": GPU, "limits": LIMITS, "means": means, "memory-bound": bound,
                                         "rows": [{"networks": ["resnet50-b64"]}], "failed": {}})  # fmt: skip
    text = readme_table.tables(tmp_path)
    assert "1,234 GB/s read and written, 5.7 TFLOP/s of float32 multiply-adds, 40 of TF32 products." in text
    for line in ("resnet50-b64 | float32 | PyTorch, NCHW | 2.000 | - | 4.000 | 61 %",
                 "resnet50-b64 | float32 | PyTorch, channels_last, tuned | 1.250 | - | - | 61 %",
                 "resnet50-b64 | TF32 | PyTorch, NCHW | 0.250 | - | - | 32 %",
                 "linear | float32 | cuBLAS | 0.800 | - | - | 40 %",
                 "activation | 4 | 90 % | 71 %, relu6_backward 64x112",
                 "relu_forward | 2 | 95 % | 1.250 | 30.0"):  # fmt: skip
        assert f"| {line} |" in text
    assert "9.0" not in text
    assert text.count("| linear |") == 1
    assert "Not measured" not in text


def test_a_gpu_has_precisions_and_the_fast_training(readme_table, tmp_path):
    precisions = {"float32": {"accuracies": [0.99, 0.98], "points": 0.0, "peak bytes": 3e8},
                  "float16": {"accuracies": [0.989, 0.98], "points": -0.05, "peak bytes": 1.5e8},
                  "tf32": {"accuracies": [], "points": None, "peak bytes": 3e8}}  # fmt: skip
    content = {"machine": {**GPU, "precision": "float32, tf32, float16"}, "settings": {"epochs": 5, "seeds": 2},
               "networks": [{"model": "resnet20", "precisions": precisions, "holds": True}]}  # fmt: skip
    (tmp_path / "bench_precision_g.json").write_text(json.dumps(content))
    content = {"machine": {**GPU, "precision": "tf32"}, "settings": {"wanted": 0.99}, "seconds": [0.1, 0.3, 0.2],
               "accuracies": [0.98, 0.991, 0.992], "median seconds": 0.2, "reached": 2}  # fmt: skip
    (tmp_path / "train_fast_g.json").write_text(json.dumps(content))
    text = readme_table.tables(tmp_path)
    assert text.count("G, 141 GB") == 1
    assert "| 5 epochs, 2 seeds | precision |" in text
    assert "| resnet20 | float16 | 98.45 % | -0.050 | 150 | 0.500 |" in text
    assert "TF32 |" not in text
    assert ("`examples/train_fast.py`, TF32: 200 ms of training and testing, the median of 3 seeds (100 ms to 300 ms); "
            "2 of them know 99 % of MNIST's test images or more, the median 99.10 %.") in text  # fmt: skip
    content["machine"] = {**MACHINE, "precision": "float32"}
    (tmp_path / "train_fast_a.json").write_text(json.dumps(content))
    assert "`examples/train_fast.py`, float32: 200 ms" in readme_table.tables(tmp_path)


def test_a_file_that_knows_fewer_versions_needs_no_head_of_its_own(readme_table, tmp_path):
    kept(tmp_path, "bench_train_g", machine=GPU, networks=[trained_on_gpu()], failed={})
    content = {"machine": {key: GPU[key] for key in ("gpu", "gpu memory", "python", "cupy")} | {"precision": "tf32"},
               "settings": {"wanted": 0.99}, "seconds": [0.1], "accuracies": [0.98], "median seconds": 0.1,
               "reached": 0}  # fmt: skip
    (tmp_path / "train_fast_g.json").write_text(json.dumps(content))
    assert readme_table.tables(tmp_path).count("G, 141 GB") == 1


def test_files_of_a_gpu_with_other_versions_say_so(readme_table, tmp_path):
    kept(tmp_path, "bench_train_g", machine=GPU, networks=[trained_on_gpu()], failed={})
    kept(tmp_path, "bench_kernels_g", machine={**GPU, "cudnn": 91100}, limits=LIMITS, means=[], rows=[], failed={},
         **{"memory-bound": []})  # fmt: skip
    text = readme_table.tables(tmp_path)
    assert text.index("cuDNN 91002;") < text.index("| lenet5 ") < text.index("cuDNN 91100;") < text.index("1,234 GB/s")


def test_the_gpus_of_both_scripts_are_one_machine(readme_table, tmp_path):
    alone = trained_on_gpu("float32", {"minicnn eager": 1.0, "minicnn graph": 0.5})
    kept(tmp_path, "bench_train_g", machine=GPU, networks=[alone], failed={})
    kept(tmp_path, "bench_train_a", networks=[NETWORK])
    text = readme_table.tables(tmp_path)
    assert text.index("P, 2 threads") < text.index("G, 141 GB")
    assert "| float32 | 1.00 s | 500 ms | - | - |" in text
    assert "Throughput" not in text


def test_ranks_have_a_row_each_and_a_table_on_paper(readme_table, tmp_path):
    during, after = {"8": 0.999, "64": 0.5}, {"8": 0.75, "64": 0.25}
    link = {"name": "10 GbE", "bends": "10 GbE: below 90 % from 9 ranks on.",
            "efficiency": {"overlapped": during, "after the backward pass": after}}  # fmt: skip
    ours = {"name": "minicnn", "seconds": {"alone": 0.3, "silent": 0.31, "summed": 0.32},
            "images a second": {"alone": 26.7, "silent": 51.6, "summed": 50.04},
            "times one rank": {"silent": 1.93, "summed": 1.876}, "part of sums": 0.0625,
            "part of waiting": [0.01, 0.2], "rounds": [{"bytes": 1}, {"bytes": 46_760_000}]}  # fmt: skip
    torch = {**ours, "name": "torch nchw", "part of waiting": None}
    result = {"model": "resnet18", "batch size of a rank": 8, "ranks": 2, "on paper": {"links": [link]},
              "contenders": [ours, torch]}  # fmt: skip
    described = {**MACHINE, "threads": 1, "mpi": "MPICH 5"}
    kept(tmp_path, "bench_distributed_a", machine=described, results=[result])
    text = readme_table.ranks(tmp_path)
    assert text.splitlines()[0] == "P, 1 thread a rank, float32; Python 3.11, Numba 0.61, PyTorch 2.13, MPICH 5:"
    assert "| resnet18, batch 8 a rank, minicnn | 1 | 300 ms | 26.7 | - | - | - | - |" in text
    assert "| resnet18, batch 8 a rank, minicnn | 2, without sums | 310 ms | 51.6 | 1.93 | - | - | - |" in text
    assert "| resnet18, batch 8 a rank, minicnn | 2 | 320 ms | 50.0 | 1.88 | 6.2 % | 1.0 % - 20.0 % | 46.76 |" in text
    assert "| resnet18, batch 8 a rank, torch nchw | 2 | 320 ms | 50.0 | 1.88 | 6.2 % | - | 46.76 |" in text
    assert "| resnet18, on paper | 8 ranks | 64 ranks |" in text
    assert "| 10 GbE | 99.9 %, 75.0 % | 50.0 %, 25.0 % |" in text
    assert text.endswith("- 10 GbE: below 90 % from 9 ranks on.")
    kept(tmp_path, "bench_distributed_a", machine=described, results=[result], quick=True)
    with pytest.raises(ValueError, match="measured with --quick"):
        readme_table.ranks(tmp_path)


def test_waiting_and_transforms_have_a_table_each(readme_table, tmp_path):
    def case(name, waiting, longer):
        medians = {"ready": {"waiting": 0.0, "over ready": 1.0}, "in line": {"waiting": waiting, "over ready": longer}}
        return {"case": name, "medians": medians}

    assert readme_table.samples(tmp_path) == readme_table.NOTHING
    kept(tmp_path, "bench_loader_a", machine=MACHINE, cases=[case("plain", 0.021, 1.25), case("photos", 0.9, 12.34)])
    text = readme_table.samples(tmp_path)
    assert text.startswith("P, 2 threads, float32; ")
    assert "| share of an epoch spent waiting | in line |" in text
    assert "| MNIST from memory | 2.1 % |" in text
    assert "| JPEG files | 12.3 |" in text
    contenders = {"LeNet-5 step": {"seconds": 0.01}, "cutout": {"seconds": 0.0005}}
    kept(tmp_path, "bench_augmentation_a", machine=MACHINE, contenders=contenders, ratios={"cutout": 0.05})
    assert "| a batch of 64 through | time | over a step of LeNet-5 |" in readme_table.samples(tmp_path)
    assert "| cutout | 500 us | 0.0500 |" in readme_table.samples(tmp_path)


def test_quick_results_are_refused(readme_table, tmp_path):
    kept(tmp_path, "bench_train_a", networks=[NETWORK], quick=True)
    with pytest.raises(ValueError, match=r"bench_train_a.json was measured with --quick"):
        readme_table.tables(tmp_path)


def test_only_what_stands_between_the_markers_changes(readme_table):
    begin, end = readme_table.BEGIN, readme_table.END
    assert readme_table.rewritten(f"a\n{begin}\nold\n{end}\nb\n", "new") == f"a\n{begin}\n\nnew\n\n{end}\nb\n"
    for wrong in ("a", f"{end}{begin}", f"{begin}{begin}{end}"):
        with pytest.raises(ValueError, match="once each"):
            readme_table.rewritten(wrong, "new")
