/* The Python object of a model, and what the files of the binding share. */
#ifndef METABIT_PYTHON_MODEL_H
#define METABIT_PYTHON_MODEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "metabit.h"
#include "wide.h"

typedef struct {
    PyObject_HEAD
    mb_model model;
    void *image, *state, *arena, *wide;
    void *input;             /* one input, behind it as many floats as it has features; for calls that take one sample */
    int busy;                /* 1 during a batch, which runs without the interpreter lock; read and set only with that lock */
    PyThread_type_lock step; /* held while steps use the state and while it is copied; taken without the interpreter lock */
    PyThread_type_lock next; /* held by the one thread that waits for step, so that the next turn is that thread's */
} Model;

/// _core.c ///

PyObject *fail(mb_status status);                 /* sets Fault and returns NULL */
int allocate(void **memory, size_t size);         /* at least one byte; 0 and MemoryError if there are none */
mb_status widen(Model *self, mb_vectors vectors); /* runs on these vectors again, after an mb_attach */
void take_turn(Model *self);                      /* takes step; without the interpreter lock */

/// _state.c ///

PyObject *model_snapshot(Model *self, PyObject *ignored);
PyObject *model_adopt(Model *self, PyObject *args);
PyObject *model_merge(Model *self, PyObject *learned);

#endif
