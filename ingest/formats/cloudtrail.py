"""AWS CloudTrail: one record to a line.

What it promises beyond :mod:`ingest.formats.documents`:

- The client is ``sourceIPAddress``, an address or the name of a service of AWS.
- The user is ``userIdentity.userName``, else its ``arn``, else its ``principalId``; the account is that of the identity, else
  ``recipientAccountId``. The host is what the client asked for (``tlsDetails.clientProvidedHostHeader``).
- The request's id is ``requestID``, else ``eventID``. What was asked for (``eventName``, ``eventSource``, ``requestParameters``) and how it
  ended (``errorCode``) are labels: a call of an API has neither method nor status here.
- Bytes in and out are those that S3 tells of its data events.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html.
"""

from ingest.formats import fills
from ingest.formats.document_tables import named, texts
from ingest.formats.documents import DocumentFormat, Place

__all__ = ["CLOUDTRAIL"]

CLOUDTRAIL = DocumentFormat(
    name="cloudtrail",
    description="AWS CloudTrail records",
    source="https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html",
    sample=(
        '{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","principalId":"AIDAJ45Q7YFFAREXAMPLE","arn":'
        '"arn:aws:iam::123456789012:user/frank","accountId":"123456789012","userName":"frank"},"eventTime":"2000-10-10T20:55:36Z",'
        '"eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"us-east-1","sourceIPAddress":"127.0.0.1","userAgent":'
        '"Mozilla/4.08 [en] (Win98; I ;Nav)","requestParameters":{"bucketName":"www","key":"apache_pb.gif"},"responseElements":null,'
        '"additionalEventData":{"bytesTransferredIn":0,"bytesTransferredOut":2326},"requestID":"RMSETVMNKYH449MZ",'
        '"eventID":"19974c80-ef3e-4a7c-807e-d58c91e0dd04","readOnly":true,"eventType":"AwsApiCall","recipientAccountId":"123456789012",'
        '"tlsDetails":{"tlsVersion":"TLSv1.2","clientProvidedHostHeader":"www.s3.amazonaws.com"}}'
    ),
    places=(
        Place("eventTime", fills.Time()),
        Place("sourceIPAddress", fills.Text("source_address")),
        *named(fills.Text("user_name"), "userIdentity.userName", "userIdentity.arn", "userIdentity.principalId"),
        *named(fills.Text("account_id"), "userIdentity.accountId", "recipientAccountId"),
        *texts({"userAgent": "user_agent_original", "requestID": "http_request_id", "eventID": "http_request_id"}),
        Place("tlsDetails.clientProvidedHostHeader", fills.HostPort("url_domain", "url_port")),
        Place("additionalEventData.bytesTransferredIn", fills.Integer("http_request_body_bytes")),
        Place("additionalEventData.bytesTransferredOut", fills.Integer("http_response_body_bytes")),
    ),
    requires=("eventVersion", "eventSource", "eventName"),
)
