/* Tickets for Python: batches of mb_ticket, mb_predict_ticket and mb_learn_ticket. */
#include "model.h"

/* ticket_many(x, tickets): x n*input_size bytes; tickets n*ticket_size bytes are filled */
PyObject *model_ticket_many(Model *self, PyObject *args)
{
    Py_buffer x, tickets, none = {0};
    if (!PyArg_ParseTuple(args, "y*w*", &x, &tickets)) {
        return NULL;
    }
    const Py_ssize_t size = mb_input_size(&self->model), given = mb_ticket_size(&self->model);
    Py_ssize_t n = 0;
    int ok = sample_count(&x, size, &n);
    if (ok && tickets.len != n * given) {
        PyErr_SetString(PyExc_ValueError, "tickets do not fit the inputs");
        ok = 0;
    }
    mb_status status = MB_OK;
    ok = ok && enter(self);
    const int mine = ok;
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; status == MB_OK && i < n; i++) {
            status = mb_ticket(&self->model, (const char *)x.buf + i * size, (char *)tickets.buf + i * given);
        }
        Py_END_ALLOW_THREADS
    }
    return leave(self, mine, (Py_buffer *[]){&x, &tickets, &none}, ok, status);
}

/* predict_tickets(tickets, scores, labels): as predict_many */
PyObject *model_predict_tickets(Model *self, PyObject *args)
{
    return predict_each(self, args, mb_ticket_size(&self->model), mb_predict_ticket);
}

static mb_status learn_ticket(void *with, mb_model *m, const void *ticket, uint16_t label, mb_learn_info *info)
{
    return (void)with, mb_learn_ticket(m, ticket, label, info);
}

/* learn_tickets(tickets, labels, info): as learn_many */
PyObject *model_learn_tickets(Model *self, PyObject *args)
{
    return learn_each(self, args, mb_ticket_size(&self->model), learn_ticket, NULL);
}
