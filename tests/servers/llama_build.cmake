# llama.cpp's "common" library serves its own programs; the Python binding never links it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "not used by the Python binding" FORCE)
