import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes events into partition 0 of a topic with the producer of Apache Kafka: in each codec one at a time, in full batches, and in
 * transactions that commit and abort. Kept events have values "0", "1", … (padded); those of aborted transactions begin with "aborted".
 * Arguments: broker, topic, events of a full batch. Prints how many are kept.
 */
public class CodecProducer {
  private static final List<String> CODECS = Arrays.asList("none", "gzip", "snappy", "lz4", "zstd");
  private static int next = 0;

  public static void main(String[] args) throws Exception {
    String broker = args[0];
    String topic = args[1];
    int full = Integer.parseInt(args[2]);
    for (int round = 0; round < 2; round++) {
      for (String codec : CODECS) {
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings(broker, codec, null))) {
          for (int i = 0; i < 5; i++) producer.send(event(topic, "")).get();
          send(producer, topic, full, "");
        }
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings(broker, codec, "t-" + codec))) {
          producer.initTransactions();
          producer.beginTransaction();
          send(producer, topic, full / 10, "");
          producer.commitTransaction();
          producer.beginTransaction();
          send(producer, topic, full / 10, "aborted");
          producer.abortTransaction();
        }
      }
    }
    System.out.println("kept " + next);
  }

  private static Properties settings(String broker, String codec, String transactionalId) {
    Properties settings = new Properties();
    settings.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, broker);
    settings.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, codec);
    settings.put(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class);
    settings.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class);
    settings.put(ProducerConfig.LINGER_MS_CONFIG, 20);
    settings.put(ProducerConfig.BATCH_SIZE_CONFIG, 500_000);
    if (transactionalId != null) settings.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, transactionalId);
    return settings;
  }

  private static void send(KafkaProducer<byte[], byte[]> producer, String topic, int count, String prefix) throws Exception {
    Future<?>[] sent = new Future<?>[count];
    for (int i = 0; i < count; i++) sent[i] = producer.send(event(topic, prefix));
    producer.flush();
    for (Future<?> one : sent) one.get();
  }

  private static ProducerRecord<byte[], byte[]> event(String topic, String prefix) {
    String value = prefix.isEmpty() ? Integer.toString(next++) : prefix;
    ProducerRecord<byte[], byte[]> event =
        new ProducerRecord<>(topic, 0, 1_700_000_000_000L + next, new byte[] {0x41, (byte) 0x81}, (value + " and some more").getBytes(StandardCharsets.UTF_8));
    event.headers().add("traceparent", ("00-" + value).getBytes(StandardCharsets.UTF_8));
    return event;
  }
}
