// Runs a library that `dync compile model.py -o model.so` wrote, with TVM's runtime only.
//
//   lib() { python -c "import importlib.util as u; print(u.find_spec('$1').submodule_search_locations[0])"; }
//   g++ -std=c++17 -O2 run_model.cpp -o run_model -I"$(lib tvm_ffi)/include" -L"$(lib tvm_ffi)/lib" -L"$(lib tvm)/lib" \
//       -Wl,--no-as-needed -ltvm_runtime -ltvm_ffi -Wl,-rpath,"$(lib tvm_ffi)/lib:$(lib tvm)/lib"
//   ./run_model model.so x.bin:float32:2x8 threshold.bin:float64:
//
// Each input is a file of plain numbers, its type, and its sizes (none for a number). What comes out is written to out1.bin, out2.bin, …
// A program that sorts needs -ltvm_runtime_extra too. Without arguments for inputs it prints what the library says of itself.
// TVM_BIND_THREADS=0 in the environment keeps its workers from waiting for cores on which other work runs.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;

struct Aligned {  // compiled code takes memory that begins at a multiple of 64 bytes
  void AllocData(DLTensor* t) { t->data = std::aligned_alloc(64, (ffi::GetDataSize(*t) / 64 + 1) * 64); }
  void FreeData(DLTensor* t) { std::free(t->data); }
};

ffi::Tensor Read(const std::string& argument) {  // file:dtype:2x8
  std::istringstream parts(argument);
  std::string file, dtype, size;
  std::getline(parts, file, ':');
  std::getline(parts, dtype, ':');
  std::vector<int64_t> shape;
  while (std::getline(parts, size, 'x')) shape.push_back(std::stoll(size));
  ffi::Tensor made = ffi::Tensor::FromNDAlloc(Aligned(), ffi::Shape(shape), ffi::StringToDLDataType(dtype), DLDevice{kDLCPU, 0});
  std::ifstream in(file, std::ios::binary);
  if (!in.read(static_cast<char*>(made.data_ptr()), ffi::GetDataSize(made))) throw std::runtime_error("too few bytes in " + file);
  return made;
}

int main(int argc, char** argv) try {
  if (argc < 2) return std::cerr << "run_model model.so file:dtype:sizes ...\n", 2;
  ffi::Module library = ffi::Module::LoadFromFile(std::filesystem::absolute(argv[1]).string());
  ffi::Module machine = library->GetFunction("vm_load_executable").value()().cast<ffi::Module>();  // one for each thread
  machine->GetFunction("vm_initialization").value()(static_cast<int>(kDLCPU), 0, 2);
  if (argc == 2) {
    std::cout << machine->GetFunction("dync").value()().cast<ffi::String>() << "\n";
    return 0;
  }
  std::vector<ffi::Any> inputs;
  for (int i = 2; i < argc; ++i) inputs.push_back(Read(argv[i]));
  std::vector<ffi::AnyView> arguments(inputs.begin(), inputs.end());
  ffi::Any result;
  machine->GetFunction("main").value().CallPacked(arguments.data(), static_cast<int32_t>(arguments.size()), &result);
  ffi::Array<ffi::Any> found = result.cast<ffi::Array<ffi::Any>>();
  std::cout << "exit " << found[0].cast<int64_t>() << "\n";
  for (size_t i = 1; i < found.size(); ++i) {
    ffi::Tensor tensor = found[i].cast<ffi::Tensor>();
    std::cout << "out" << i << " " << ffi::DLDataTypeToString(tensor.dtype());
    for (int64_t size : tensor.shape()) std::cout << " " << size;
    std::cout << "\n";
    std::ofstream out("out" + std::to_string(i) + ".bin", std::ios::binary);
    out.write(static_cast<const char*>(tensor.data_ptr()), ffi::GetDataSize(tensor));
  }
  return 0;
} catch (const std::exception& error) {
  return std::cerr << error.what() << "\n", 1;
}
