/**
 * The project's dead-letter queues, each with the tool that fills it: what is looked at unless `--queue` names one.
 * @module
 */
export const queues = {
  "hello.dlq": "prototypes/send-recv",
  "task_queue.dlq": "prototypes/worker-queue",
  "logs.default.dlq": "prototypes/fanout-exchange",
  "e123456_upload.dlq": "prototypes/elastic-workers, worker",
  "DSTREPORT.dlq": "prototypes/elastic-workers, monitor",
  "DSTREPORT_started.dlq": "prototypes/elastic-workers, monitor",
  "DSTSCALE.dlq": "prototypes/elastic-workers, scaler",
  "direct_logs.dlq": "prototypes/direct-exchange",
  "topic_logs.dlq": "prototypes/topic-exchange",
  "header_logs.dlq": "prototypes/headers-exchange",
  "rpc_queue.dlq": "prototypes/rpc",
  "priority_queue.dlq": "prototypes/priority-queue",
  "delayed_queue.dlq": "prototypes/delayed",
  "event.sink.dlq": "consumers/echo",
  "event.sink.mongo.dlq": "consumers/mongo",
  "admin.dlq": "consumers/products, service",
  "admin.feedback.dlq": "consumers/products, admin",
  "distributor_consume.dlq": "pipeline, distributor",
  "process_failed": "pipeline, processor",
  "statistics.dlq": "pipeline, statistics",
};
