/* Runs a SavedModel's float32 signature by TensorFlow's C API: no Python, nothing of ours in it.

   client SAVED_MODEL INPUT OUTPUT [DIMENSIONS FILE]…

   INPUT and OUTPUT are tensor names; DIMENSIONS are as 1x64x96x3, FILE has the floats of them.
   Writes the result's floats to FILE.out, and prints "ok" or the error's text for each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static TF_Output output(TF_Graph *graph, char *name) {
  char *colon = strchr(name, ':');
  if (colon) *colon = 0;
  TF_Output found = {TF_GraphOperationByName(graph, name), colon ? atoi(colon + 1) : 0};
  if (colon) *colon = ':';
  return found;
}

static TF_Tensor *read_tensor(const char *dimensions, const char *path) {
  int64_t dims[8], count = 1;
  int rank = 0;
  for (char *end = (char *)dimensions; rank < 8 && *end; rank++) {
    count *= dims[rank] = strtoll(end, &end, 10);
    if (*end == 'x') end++;
  }
  TF_Tensor *tensor = TF_AllocateTensor(TF_FLOAT, dims, rank, count * sizeof(float));
  FILE *file = fopen(path, "rb");
  if (!file || fread(TF_TensorData(tensor), sizeof(float), count, file) != (size_t)count) exit(3);
  fclose(file);
  return tensor;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  const char *tags[] = {"serve"};
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  if (TF_GetCode(status) != TF_OK) return fprintf(stderr, "%s\n", TF_Message(status)), 1;
  TF_Output feed = output(graph, argv[2]), fetch = output(graph, argv[3]);
  for (int i = 4; i + 1 < argc; i += 2) {
    TF_Tensor *picture = read_tensor(argv[i], argv[i + 1]), *restored = NULL;
    TF_SessionRun(session, NULL, &feed, &picture, 1, &fetch, &restored, 1, NULL, 0, NULL, status);
    TF_DeleteTensor(picture);
    if (TF_GetCode(status) != TF_OK) {
      printf("%.*s\n", (int)strcspn(TF_Message(status), "\n"), TF_Message(status));
      continue;
    }
    char path[4096];
    snprintf(path, sizeof path, "%s.out", argv[i + 1]);
    FILE *file = fopen(path, "wb");
    if (!file) return 3;
    fwrite(TF_TensorData(restored), 1, TF_TensorByteSize(restored), file);
    fclose(file);
    TF_DeleteTensor(restored);
    puts("ok");
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
