/* Module metabit.train.rule._fused: runs the kernels on raw addresses, on several threads. Its only caller, `fused.py`,
 * checks every argument. The build needs neither torch nor NumPy. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <stdatomic.h>

#include "kernels.h"

enum { CHUNK = 1 << 14 }; /* elements a thread takes at a time: some ten microseconds */

typedef struct {
    const mt_job *jobs;
    int8_t *signs;      /* if not NULL: only write the signs of the only job's w */
    float *sign_floats; /* if not NULL: likewise, as floats                      */
    size_t chunks;
    atomic_size_t next;
} work;

static size_t chunks_of(size_t n) { return (n + CHUNK - 1) / CHUNK; }

static void run_chunk(const work *shared, size_t chunk)
{
    const mt_job *job = shared->jobs;
    for (; chunk >= chunks_of(job->n); job++) {
        chunk -= chunks_of(job->n);
    }
    const size_t begin = chunk * CHUNK, end = job->n - begin < CHUNK ? job->n : begin + CHUNK;
    if (shared->signs != NULL) {
        mt_signs(job->w, shared->signs, begin, end);
    } else if (shared->sign_floats != NULL) {
        mt_sign_floats(job->w, shared->sign_floats, begin, end);
    } else {
        mt_step(job, begin, end);
    }
}

static void run(void *pointer)
{
    work *shared = pointer;
    for (size_t chunk; (chunk = atomic_fetch_add(&shared->next, 1)) < shared->chunks;) {
        run_chunk(shared, chunk);
    }
}

/* Runs the chunks on torch's own OpenMP threads if their library is loaded: a second pool of threads would compete with
 * them for the cores. Each thread takes chunks until none is left, so any number of threads may take part. */
static void run_parallel(work *shared, unsigned threads)
{
    typedef void parallel(void (*)(void *), void *, unsigned, unsigned);
    parallel *gomp = NULL;
    if (threads > 1 && shared->chunks > 1) {
        void *symbol = dlsym(RTLD_DEFAULT, "GOMP_parallel");
        memcpy(&gomp, &symbol, sizeof gomp);
    }
    if (gomp != NULL) {
        gomp(run, shared, threads, 0);
    } else {
        run(shared);
    }
}

static int parse(PyObject *item, mt_job *job)
{
    unsigned long long w, g, m, v, n;
    double rate, keep1, add1, keep2, add2, eps, decay, gate;
    if (!PyArg_ParseTuple(item, "KKKKKdddddddd", &w, &g, &m, &v, &n, &rate, &keep1, &add1, &keep2, &add2, &eps,
                          &decay, &gate)) {
        return 0;
    }
    *job = (mt_job){
        .w = (float *)(uintptr_t)w, .g = (const float *)(uintptr_t)g, .m = (float *)(uintptr_t)m, .v = (float *)(uintptr_t)v,
        .n = (size_t)n, .rate = (float)rate, .keep1 = (float)keep1, .add1 = (float)add1,
        .keep2 = (float)keep2, .add2 = (float)add2, .eps = (float)eps, .decay = (float)decay, .gate = (float)gate,
    };
    return 1;
}

static PyObject *run_jobs(work shared, Py_ssize_t count, unsigned threads)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        shared.chunks += chunks_of(shared.jobs[i].n);
    }
    Py_BEGIN_ALLOW_THREADS
    run_parallel(&shared, threads);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *fused_step(PyObject *module, PyObject *args)
{
    PyObject *list;
    unsigned threads;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!I", &PyList_Type, &list, &threads)) {
        return NULL;
    }
    const Py_ssize_t count = PyList_GET_SIZE(list);
    mt_job *jobs = PyMem_New(mt_job, count ? count : 1);
    if (jobs == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *done = NULL;
    Py_ssize_t parsed = 0;
    while (parsed < count && parse(PyList_GET_ITEM(list, parsed), &jobs[parsed])) {
        parsed++;
    }
    if (parsed == count) {
        done = run_jobs((work){.jobs = jobs}, count, threads);
    }
    PyMem_Free(jobs);
    return done;
}

static PyObject *fused_signs(PyObject *module, PyObject *args)
{
    unsigned long long w, out, n;
    int floats;
    unsigned threads;
    (void)module;
    if (!PyArg_ParseTuple(args, "KKKpI", &w, &out, &n, &floats, &threads)) {
        return NULL;
    }
    const mt_job job = {.w = (float *)(uintptr_t)w, .n = (size_t)n};
    work shared = {.jobs = &job};
    if (floats) {
        shared.sign_floats = (float *)(uintptr_t)out;
    } else {
        shared.signs = (int8_t *)(uintptr_t)out;
    }
    return run_jobs(shared, 1, threads);
}

static PyObject *fused_narrow(PyObject *module, PyObject *args)
{
    unsigned long long x, out, n;
    int kind;
    (void)module;
    if (!PyArg_ParseTuple(args, "KKK", &x, &out, &n)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    kind = mt_narrow((const float *)(uintptr_t)x, (uint8_t *)(uintptr_t)out, (size_t)n);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(kind);
}

static PyMethodDef methods[] = {
    {"step", fused_step, METH_VARARGS, "step(jobs, threads): one optimizer step over a list of tuples, see fused.py."},
    {"signs", fused_signs, METH_VARARGS, "signs(w, out, n, floats, threads): int8 or float32 signs of float32."},
    {"narrow", fused_narrow, METH_VARARGS, "narrow(x, out, n): float32 to bytes; 1 if int8, 2 if uint8 hold them, else 0."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_fused", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__fused(void) { return PyModule_Create(&definition); }
