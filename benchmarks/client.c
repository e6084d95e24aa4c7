/* A load client for event streams: client PORT PATH BODYFILE CONNECTIONS SECONDS [READ_BYTES_A_SECOND [CONNECTS_A_SECOND]]
 *
 * Each connection posts the body, reads the answer, and posts again until the time is over. Prints one JSON object.
 * An answer is whole with status 200 and a terminal event; deltas are told by their stamps (see net.h).
 */
#include "net.h"

typedef struct {
    double *values;
    size_t count, room;
} numbers;

static void note(numbers *to, double value) {
    if (to->count == to->room) {
        to->room = to->room ? to->room * 2 : 4096;
        to->values = realloc(to->values, to->room * sizeof *to->values);
    }
    to->values[to->count++] = value;
}

static int by_size(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void print_numbers(const char *name, numbers *of) {
    qsort(of->values, of->count, sizeof *of->values, by_size);
    double half = of->count ? of->values[of->count / 2] : 0, most = of->count ? of->values[of->count * 99 / 100] : 0;
    printf("\"%s\":{\"p50\":%.1f,\"p99\":%.1f},", name, half, most);
}

enum state { CLOSED, CONNECTING, SENDING, HEAD, SIZE, DATA, AFTER_DATA, LAST, BODY };

typedef struct {
    int fd;
    enum state state;
    size_t sent, left;
    buffer head, line;
    int status, chunked, length_known, keep, is_delta, seen_event, seen_delta, whole;
    long deltas;
    uint64_t began;
} connection;

static int epoll_fd;
static char *request;
static size_t request_size;
static struct sockaddr_in address;
static uint64_t deadline;
static double read_rate;
static numbers first_event, first_delta, latency;
static long whole, failed, started, deltas, fewest = -1, most;
static char problem[200];

static void begin(connection *it);

static void finish(connection *it, int complete) {
    if (complete && it->status == 200 && it->whole) {
        whole++;
        if (fewest < 0 || it->deltas < fewest) fewest = it->deltas;
        if (it->deltas > most) most = it->deltas;
    } else {
        failed++;
        if (!problem[0]) snprintf(problem, sizeof problem, "status %d, %s", it->status, complete ? "no end" : "cut");
    }
    if (!complete || !it->keep) {
        close(it->fd);
        it->fd = -1;
    }
    begin(it);
}

/* One line of the event stream. */
static void read_line(connection *it, const char *line, size_t size) {
    if (size > 6 && !memcmp(line, "event:", 6)) {
        it->is_delta = memmem(line, size, ".delta", 6) != NULL;
        if (memmem(line, size, "response.completed", 18)) it->whole = 1;
        return;
    }
    if (size < 5 || memcmp(line, "data:", 5)) return;
    uint64_t now = 0;
    if (!it->seen_event) {
        it->seen_event = 1;
        now = now_ns();
        note(&first_event, (double)(now - it->began) / 1e3);
    }
    size_t start = size < 200 ? size : 200;
    int told = it->is_delta || memmem(line, start, "chat.completion.chunk", 21) || memmem(line, start, ".delta\"", 7);
    it->is_delta = 0;
    if (!told) {
        if (memmem(line, start, "\"response.completed\"", 20) || memmem(line, start, "[DONE]", 6)) it->whole = 1;
        return;
    }
    const char *mark = memchr(line, MARK, size);
    if (!mark || mark + STAMP_SIZE >= line + size) return;
    char stamp[STAMP_SIZE + 1] = "";
    memcpy(stamp, mark + 1, STAMP_SIZE);
    if (!now) now = now_ns();
    note(&latency, (double)(int64_t)(now - strtoull(stamp, NULL, 16)) / 1e3);
    deltas++;
    it->deltas++;
    if (!it->seen_delta) {
        it->seen_delta = 1;
        note(&first_delta, (double)(now - it->began) / 1e3);
    }
}

static void read_text(connection *it, const char *data, size_t size) {
    while (size) {
        const char *end = memchr(data, '\n', size);
        if (!end) {
            append(&it->line, data, size);
            return;
        }
        size_t length = (size_t)(end - data);
        if (it->line.size) {
            append(&it->line, data, length);
            read_line(it, it->line.data, it->line.size);
            forget(&it->line);
        } else
            read_line(it, data, length);
        data = end + 1;
        size -= length + 1;
    }
}

/* Returns 1 when the answer is complete, -1 when it is nonsense. */
static int read_body(connection *it, const char *data, size_t size) {
    while (size) {
        switch (it->state) {
            case BODY:
                if (it->length_known && size > it->left) size = it->left;
                read_text(it, data, size);
                if (it->length_known && !(it->left -= size)) return 1;
                return 0;
            case DATA: {
                size_t part = size < it->left ? size : it->left;
                read_text(it, data, part);
                data += part;
                size -= part;
                if (!(it->left -= part)) it->state = AFTER_DATA;
                break;
            }
            default: /* a line of the chunked coding, byte by byte */
                if (*data == '\n') {
                    if (it->state == SIZE) {
                        it->head.data[it->head.size] = 0;
                        it->left = strtoul(it->head.data, NULL, 16);
                        it->state = it->left ? DATA : LAST;
                    } else if (it->state == LAST)
                        return 1;
                    else
                        it->state = SIZE;
                    forget(&it->head);
                } else if (it->state == SIZE) {
                    *reserve(&it->head, 2) = *data;
                    it->head.size++;
                }
                data++;
                size--;
        }
    }
    return 0;
}

static int read_head(connection *it, const char *data, size_t size) {
    size_t before = it->head.size;
    append(&it->head, data, size);
    *reserve(&it->head, 1) = 0;
    char *end = memmem(it->head.data, it->head.size, "\r\n\r\n", 4);
    if (!end) return it->head.size > 65536 ? -1 : 0;
    size_t used = (size_t)(end + 4 - it->head.data) - before;
    *end = 0;
    it->status = it->head.size > 12 ? atoi(it->head.data + 9) : 0;
    char *length = strcasestr(it->head.data, "\r\ncontent-length:"), *coding = strcasestr(it->head.data, "\r\ntransfer-encoding:");
    it->length_known = length != NULL;
    it->left = length ? strtoul(length + 17, NULL, 10) : 0;
    it->keep = !strcasestr(it->head.data, "\r\nconnection: close");
    it->state = coding ? SIZE : BODY;
    if (it->status != 200 && !problem[0]) snprintf(problem, sizeof problem, "status %d", it->status);
    forget(&it->head);
    reserve(&it->head, 64);
    if (!coding && length && !it->left) return 1;
    return read_body(it, data + used, size - used);
}

static void readable(connection *it) {
    static char data[1 << 18];
    size_t room = read_rate ? (size_t)(read_rate / 20) + 1 : sizeof data;
    for (;;) {
        ssize_t got = recv(it->fd, data, room, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            finish(it, it->state == BODY && !it->length_known && got == 0);
            return;
        }
        int outcome = it->state == HEAD ? read_head(it, data, (size_t)got) : read_body(it, data, (size_t)got);
        if (outcome) {
            finish(it, outcome > 0);
            return;
        }
        if (read_rate || (size_t)got < room) return;
    }
}

static void writable(connection *it) {
    if (it->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(it->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            snprintf(problem, sizeof problem, "connect: %s", strerror(error));
            finish(it, 0);
            return;
        }
        it->state = SENDING;
    }
    while (it->sent < request_size) {
        ssize_t sent = send(it->fd, request + it->sent, request_size - it->sent, 0);
        if (sent < 0) {
            if (errno == EAGAIN)
                watch(epoll_fd, EPOLL_CTL_MOD, it->fd, EPOLLIN | EPOLLOUT, it);
            else
                finish(it, 0);
            return;
        }
        it->sent += (size_t)sent;
    }
    it->state = HEAD;
    watch(epoll_fd, EPOLL_CTL_MOD, it->fd, read_rate ? 0 : EPOLLIN, it);
}

static void begin(connection *it) {
    it->state = CLOSED;
    it->began = now_ns();
    if (it->began >= deadline || failed > 1000) {
        if (it->fd >= 0) close(it->fd);
        it->fd = -1;
        return;
    }
    started++;
    it->sent = it->left = 0;
    it->status = it->is_delta = it->seen_event = it->seen_delta = it->whole = 0;
    it->deltas = 0;
    forget(&it->head);
    forget(&it->line);
    if (it->fd >= 0) {
        it->state = SENDING;
        writable(it);
        return;
    }
    it->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    no_delay(it->fd);
    int small = 8192;
    if (read_rate) setsockopt(it->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    it->state = CONNECTING;
    watch(epoll_fd, EPOLL_CTL_ADD, it->fd, EPOLLIN | EPOLLOUT, it);
    if (connect(it->fd, (void *)&address, sizeof address) && errno != EINPROGRESS) finish(it, 0);
}

static void prepare(const char *path, const char *body_file, int port) {
    FILE *file = fopen(body_file, "rb");
    if (!file) {
        perror(body_file);
        exit(1);
    }
    static char body[1 << 24];
    size_t size = fread(body, 1, sizeof body, file);
    fclose(file);
    request = malloc(size + 1024);
    request_size = (size_t)sprintf(request,
                                   "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                                   "Accept: text/event-stream\r\nUser-Agent: bench\r\nContent-Length: %zu\r\n\r\n",
                                   path, port, size);
    memcpy(request + request_size, body, size);
    request_size += size;
}

int main(int count, char **words) {
    if (count < 6) {
        fprintf(stderr, "client PORT PATH BODYFILE CONNECTIONS SECONDS [READ_RATE [CONNECT_RATE]]\n");
        return 2;
    }
    many_files();
    int port = atoi(words[1]), connections = atoi(words[4]), opened = 0;
    double seconds = atof(words[5]), connect_rate = count > 7 ? atof(words[7]) : 0;
    read_rate = count > 6 ? atof(words[6]) : 0;
    prepare(words[2], words[3], port);
    address = loopback(port);
    epoll_fd = epoll_create1(0);
    connection *all = calloc((size_t)connections, sizeof *all);
    for (int i = 0; i < connections; i++) all[i].fd = -1;
    uint64_t start = now_ns(), slow_due = start;
    deadline = start + (uint64_t)(seconds * 1e9);
    struct epoll_event events[512];
    uint64_t now = start;
    while (now < deadline && failed <= 1000) {
        double due = connect_rate ? (double)(now - start) / 1e9 * connect_rate + 1 : connections;
        while (opened < connections && opened < due) begin(&all[opened++]);
        int patience = read_rate || opened < connections ? 1 : 20;
        int ready = epoll_wait(epoll_fd, events, 512, patience);
        for (int i = 0; i < ready; i++) {
            connection *it = events[i].data.ptr;
            if (it->state == CLOSED) continue;
            if ((events[i].events & EPOLLOUT) && (it->state == CONNECTING || it->state == SENDING)) {
                writable(it);
                continue;
            }
            if (it->state == CONNECTING) writable(it);
            else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(it);
        }
        now = now_ns();
        if (read_rate && now >= slow_due) {
            slow_due = now + 50000000u;
            for (int i = 0; i < opened; i++)
                if (all[i].state >= HEAD) readable(&all[i]);
        }
    }
    double wall = (double)(now_ns() - start) / 1e9;
    long open = 0;
    for (int i = 0; i < connections; i++) open += all[i].state >= HEAD;
    printf("{\"wall\":%.3f,\"started\":%ld,\"whole\":%ld,\"failed\":%ld,\"open\":%ld,\"deltas\":%ld,", wall, started, whole, failed,
           open, deltas);
    printf("\"fewest_deltas\":%ld,\"most_deltas\":%ld,", fewest, most);
    print_numbers("first_event_us", &first_event);
    print_numbers("first_delta_us", &first_delta);
    print_numbers("latency_us", &latency);
    printf("\"problem\":\"%s\"}\n", problem);
    return 0;
}
